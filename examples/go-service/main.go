// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// An HTTPS service and its client, with go-spiffe alone: certificate, key and anchors come from the
// agent's SPIFFE Workload API and stay current by themselves.
//
//	go-service serve HOST:PORT SPIFFE-ID...   greets callers that have one of these IDs
//	go-service get URL SPIFFE-ID              asks a server that has this ID
//
// The agent's socket is taken from SPIFFE_ENDPOINT_SOCKET, unix:///run/linchpin/agent.sock say.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func greet(w http.ResponseWriter, r *http.Request) {
	caller, err := x509svid.IDFromCert(r.TLS.PeerCertificates[0])
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, "Hello, %s\n", caller)
}

func serve(ctx context.Context, source *workloadapi.X509Source, address string,
	allowed []spiffeid.ID) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	callers := tlsconfig.AuthorizeOneOf(allowed...)
	config := tlsconfig.MTLSServerConfig(source, source, callers)
	// Go does not call go-spiffe's checks for a session that is resumed.
	config.SessionTicketsDisabled = true
	server := &http.Server{
		Handler:           http.HandlerFunc(greet),
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       5 * time.Minute,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	log.Printf("serving on %s", listener.Addr())
	if err := server.ServeTLS(listener, "", ""); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func get(ctx context.Context, source *workloadapi.X509Source, url string,
	server spiffeid.ID) error {
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(server))
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: config},
		Timeout:   10 * time.Second,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 || (os.Args[1] != "serve" && os.Args[1] != "get") {
		log.Fatal("usage: go-service serve HOST:PORT SPIFFE-ID... | get URL SPIFFE-ID")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var peers []spiffeid.ID
	for _, text := range os.Args[3:] {
		id, err := spiffeid.FromString(text)
		if err != nil {
			log.Fatal(err)
		}
		peers = append(peers, id)
	}
	// Waits until the agent has an identity for this process.
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	if os.Args[1] == "serve" {
		err = serve(ctx, source, os.Args[2], peers)
	} else {
		err = get(ctx, source, os.Args[2], peers[0])
	}
	if err != nil {
		log.Fatal(err)
	}
}
