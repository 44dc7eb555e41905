// Verifies chains with Go's crypto/x509 and their CRLs: the first argument is a file with the root, each other one a file with
// the leaf first and the certificates above it, in PEM, and beside it FILE.crl, the CRL in DER. Prints "FILE: OK",
// "FILE: revoked" or "FILE: ERROR" for each.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	for _, file := range os.Args[2:] {
		verdict := "OK"
		if err := verify(file, os.Args[1]); err != nil {
			verdict = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Printf("%s: %s\n", filepath.Base(file), verdict)
	}
}

func certificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return all, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
}

func verify(file, rootFile string) error {
	chain, err := certificates(file)
	if err != nil {
		return err
	}
	trusted, err := certificates(rootFile)
	if err != nil {
		return err
	}
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	for _, certificate := range trusted {
		roots.AddCert(certificate)
	}
	for _, certificate := range chain[1:] {
		above.AddCert(certificate)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: above,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	octets, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".crl")
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(octets)
	if err != nil {
		return err
	}
	if err := list.CheckSignatureFrom(chains[0][1]); err != nil {
		return err
	}
	if now := time.Now(); now.Before(list.ThisUpdate) || now.After(list.NextUpdate) {
		return fmt.Errorf("the CRL is of %s to %s", list.ThisUpdate, list.NextUpdate)
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(chain[0].SerialNumber) == 0 {
			return fmt.Errorf("revoked")
		}
	}
	return nil
}
