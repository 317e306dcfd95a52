// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"time"
)

const patience = 20 * time.Second

func dial(anchors, port string) error {
	roots, err := pool(anchors)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"},
		},
		Timeout: patience,
	}
	response, err := client.Get("https://127.0.0.1:" + port)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func serve(anchors, chain, key, port string) error {
	clients, err := pool(anchors)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: "127.0.0.1:" + port,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "let through")
		}),
		TLSConfig:         &tls.Config{ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert},
		ReadHeaderTimeout: patience,
	}
	return server.ListenAndServeTLS(chain, key)
}
