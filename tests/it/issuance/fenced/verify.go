// Verifies every *.leaf of a folder, in DER, below root.der by way of sub.der: for each a line "file: verdict".
//
// The second argument is the purpose: any, server, client, or an IP address that the leaf must name.
package main

import (
	"crypto/x509"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func read(file string) *x509.Certificate {
	der, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatalf("%s: %v", file, err)
	}
	return certificate
}

func main() {
	folder := os.Args[1]
	purpose, known := map[string]x509.ExtKeyUsage{
		"any":    x509.ExtKeyUsageAny,
		"server": x509.ExtKeyUsageServerAuth,
		"client": x509.ExtKeyUsageClientAuth,
	}[os.Args[2]]
	address := ""
	if !known {
		address, purpose = os.Args[2], x509.ExtKeyUsageAny
	}
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(),
		Intermediates: x509.NewCertPool(),
		KeyUsages:     []x509.ExtKeyUsage{purpose},
		DNSName:       address,
	}
	options.Roots.AddCert(read(filepath.Join(folder, "root.der")))
	options.Intermediates.AddCert(read(filepath.Join(folder, "sub.der")))
	leaves, err := filepath.Glob(filepath.Join(folder, "*.leaf"))
	if err != nil {
		log.Fatal(err)
	}
	for _, leaf := range leaves {
		verdict := "OK"
		if _, err := read(leaf).Verify(options); err != nil {
			verdict = err.Error()
		}
		fmt.Printf("%s: %s\n", filepath.Base(leaf), verdict)
	}
}
