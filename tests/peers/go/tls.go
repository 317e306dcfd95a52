// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const patience = 10 * time.Second

// peerOf is the ID that the other end has shown, once the handshake is over.
func peerOf(conn *tls.Conn) (spiffeid.ID, string, error) {
	leaf := conn.ConnectionState().PeerCertificates[0]
	id, err := x509svid.IDFromCert(leaf)
	return id, fmt.Sprintf("%x", leaf.SerialNumber), err
}

func serve(ctx context.Context, source *workloadapi.X509Source,
	allowed tlsconfig.Authorizer) error {
	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		tlsconfig.MTLSServerConfig(source, source, allowed))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	say("listening %s", listener.Addr())
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		go answer(conn.(*tls.Conn))
	}
}

// answer says to each line whom it hears.
func answer(conn *tls.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		say("refused %v", err)
		return
	}
	id, serial, err := peerOf(conn)
	if err != nil {
		say("refused %v", err)
		return
	}
	say("accepted %s %s", id, serial)
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := fmt.Fprintln(conn, id); err != nil {
			return
		}
	}
}

func ask(conn *tls.Conn, lines *bufio.Reader) error {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(conn, "who am I?"); err != nil {
		return err
	}
	id, err := lines.ReadString('\n')
	if err != nil {
		return err
	}
	server, serial, err := peerOf(conn)
	if err != nil {
		return err
	}
	say("answered %s %s as %s", server, serial, id[:len(id)-1])
	return nil
}

// call asks until it is told to end. A failure is an event and no end.
func call(ctx context.Context, source *workloadapi.X509Source, to string,
	expected tlsconfig.Authorizer, keep bool) error {
	config := tlsconfig.MTLSClientConfig(source, source, expected)
	dialer := &net.Dialer{Timeout: patience}
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for {
		conn, err := tls.DialWithDialer(dialer, "tcp", to, config)
		if err == nil {
			lines := bufio.NewReader(conn)
			for err = ask(conn, lines); err == nil && keep && ctx.Err() == nil; {
				<-pace.C
				err = ask(conn, lines)
			}
			conn.Close()
		}
		if err != nil {
			say("failed %v", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
	}
}
