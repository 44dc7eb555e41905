// Verifies chains with Go's crypto/x509: each argument is a file with the leaf first and the root last, in PEM, and beside it
// FILE.time, the time in seconds since 1970. If FILE.crl is there, it is the CRL of the leaf's issuer in DER. Prints "FILE: OK",
// "FILE: ERROR" or "FILE: revoked for reason NUMBER" for each.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	for _, file := range os.Args[1:] {
		verdict := "OK"
		if err := verify(file); err != nil {
			verdict = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Printf("%s: %s\n", filepath.Base(file), verdict)
	}
}

func verify(file string) error {
	rest, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	seconds, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".time")
	if err != nil {
		return err
	}
	now, err := strconv.ParseInt(string(seconds), 10, 64)
	if err != nil {
		return err
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return err
		}
		chain = append(chain, certificate)
	}
	roots, above := x509.NewCertPool(), x509.NewCertPool()
	last := len(chain) - 1
	roots.AddCert(chain[last])
	for _, certificate := range chain[1:last] {
		above.AddCert(certificate)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: above,
		CurrentTime:   time.Unix(now, 0),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	return verifyList(file, chain[0], chain[1], time.Unix(now, 0))
}

func verifyList(file string, leaf, issuer *x509.Certificate, now time.Time) error {
	der, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".crl")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return err
	}
	if !bytes.Equal(list.RawIssuer, leaf.RawIssuer) || !bytes.Equal(list.AuthorityKeyId, issuer.SubjectKeyId) {
		return errors.New("the CRL names another issuer or key")
	}
	if list.Number == nil || now.Before(list.ThisUpdate) || !now.Before(list.NextUpdate) {
		return errors.New("the CRL has no number or is not current")
	}
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return fmt.Errorf("revoked for reason %d", entry.ReasonCode)
		}
	}
	return nil
}
