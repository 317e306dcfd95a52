// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Second opinions about certificates: Go's crypto/x509, crypto/tls and zlint.
//
//	verifiers verify ANCHORS.pem CHAIN.pem   the chain's first certificate, as server and as client
//	verifiers lint FILE.pem...               every lint that is not passed: level, name, source
//	verifiers dial ANCHORS.pem PORT          what the server of the name localhost answers
//	verifiers serve ANCHORS.pem CHAIN.pem KEY.pem PORT   answers whom the anchors let in
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

func blocks(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			found = append(found, block.Bytes)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no certificate", path)
	}
	return found, nil
}

func certificates(path string) ([]*x509.Certificate, error) {
	found, err := blocks(path)
	if err != nil {
		return nil, err
	}
	var parsed []*x509.Certificate
	for _, der := range found {
		one, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		parsed = append(parsed, one)
	}
	return parsed, nil
}

func pool(anchors string) (*x509.CertPool, error) {
	roots, err := certificates(anchors)
	if err != nil {
		return nil, err
	}
	made := x509.NewCertPool()
	for _, root := range roots {
		made.AddCert(root)
	}
	return made, nil
}

func verify(anchors, chain string) error {
	roots, err := pool(anchors)
	if err != nil {
		return err
	}
	path, err := certificates(chain)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, between := range path[1:] {
		options.Intermediates.AddCert(between)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options.KeyUsages = []x509.ExtKeyUsage{usage}
		if _, err := path[0].Verify(options); err != nil {
			return err
		}
	}
	return nil
}

func lintFile(path string) error {
	found, err := blocks(path)
	if err != nil {
		return err
	}
	for _, der := range found {
		parsed, err := zx509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		results := zlint.LintCertificate(parsed)
		fmt.Printf("linted %s\n", parsed.Subject)
		for name, result := range results.Results {
			if result.Status >= lint.Notice {
				what := lint.GlobalRegistry().CertificateLints().ByName(name)
				fmt.Printf("%s %s %s %s\n", result.Status, name, what.Source, result.Details)
			}
		}
	}
	return nil
}

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "verify":
		err = verify(os.Args[2], os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == "dial":
		err = dial(os.Args[2], os.Args[3])
	case len(os.Args) == 6 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	case len(os.Args) > 2 && os.Args[1] == "lint":
		for _, path := range os.Args[2:] {
			if err == nil {
				err = lintFile(path)
			}
		}
	default:
		err = fmt.Errorf("usage: the comment above main.go's package says it")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
