// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// A service as go-spiffe's users write it; it knows nothing of Linchpin. One event a line.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

const usage = `usage: peer [OPTION...] COMMAND, with SPIFFE_ENDPOINT_SOCKET in the environment
                              fetch    the X.509 context and the bundles, once
                              watch    every X.509 context, until it is killed
                              bundles  every set of bundles, until it is killed
  -allow ID | -member TD      serve    answers over mutual TLS
  -to HOST:PORT -expect ID    call     asks again and again, each time on a new connection
  -to HOST:PORT -expect ID -keep call  the same on one connection`

var output sync.Mutex

func say(format string, args ...any) {
	output.Lock()
	defer output.Unlock()
	fmt.Printf(format+"\n", args...)
}

func fail(err error) {
	say("error %s %v", status.Code(err), err)
	os.Exit(1)
}

func describe(x *workloadapi.X509Context) {
	for _, svid := range x.SVIDs {
		leaf := svid.Certificates[0]
		say("svid %s %x hint=%q certificates=%d until=%d", svid.ID, leaf.SerialNumber, svid.Hint,
			len(svid.Certificates), leaf.NotAfter.Unix())
		// What every go-spiffe peer would do with it.
		if _, _, err := x509svid.Verify(svid.Certificates, x.Bundles); err != nil {
			say("error own certificate does not verify: %v", err)
		}
	}
	for _, bundle := range x.Bundles.Bundles() {
		for _, anchor := range bundle.X509Authorities() {
			say("anchor %s %s self-issued=%v", bundle.TrustDomain(), anchor.Subject,
				string(anchor.RawIssuer) == string(anchor.RawSubject))
		}
	}
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(x *workloadapi.X509Context) {
	describe(x)
	say("updated")
}

func (watcher) OnX509ContextWatchError(err error) { say("error %s %v", status.Code(err), err) }

type bundleWatcher struct{}

func (bundleWatcher) OnX509BundlesUpdate(bundles *x509bundle.Set) {
	for _, bundle := range bundles.Bundles() {
		say("bundle %s %d", bundle.TrustDomain(), len(bundle.X509Authorities()))
	}
}

func (bundleWatcher) OnX509BundlesWatchError(err error) {
	say("error %s %v", status.Code(err), err)
}

func fetch(ctx context.Context, client *workloadapi.Client) {
	x, err := client.FetchX509Context(ctx)
	if err != nil {
		fail(err)
	}
	describe(x)
	bundles, err := client.FetchX509Bundles(ctx)
	if err != nil {
		fail(err)
	}
	for _, bundle := range bundles.Bundles() {
		say("bundle %s %d", bundle.TrustDomain(), len(bundle.X509Authorities()))
	}
}

func authorizer(id, member string) tlsconfig.Authorizer {
	if member != "" {
		return tlsconfig.AuthorizeMemberOf(spiffeid.RequireTrustDomainFromString(member))
	}
	return tlsconfig.AuthorizeID(spiffeid.RequireFromString(id))
}

func main() {
	allow := flag.String("allow", "", "")
	member := flag.String("member", "", "")
	to := flag.String("to", "", "")
	expect := flag.String("expect", "", "")
	keep := flag.Bool("keep", false, "")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	switch command := flag.Arg(0); command {
	case "fetch", "watch", "bundles":
		client, err := workloadapi.New(ctx)
		if err != nil {
			fail(err)
		}
		defer client.Close()
		switch command {
		case "fetch":
			fetch(ctx, client)
		case "watch":
			err = client.WatchX509Context(ctx, watcher{})
		case "bundles":
			err = client.WatchX509Bundles(ctx, bundleWatcher{})
		}
		if err != nil && ctx.Err() == nil {
			fail(err)
		}
	case "serve", "call":
		source, err := workloadapi.NewX509Source(ctx)
		if err != nil {
			fail(err)
		}
		defer source.Close()
		if command == "serve" {
			err = serve(ctx, source, authorizer(*allow, *member))
		} else {
			err = call(ctx, source, *to, authorizer(*expect, *member), *keep)
		}
		if err != nil {
			fail(err)
		}
	default:
		flag.Usage()
		os.Exit(2)
	}
}
