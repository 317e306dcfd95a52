// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

import io.spiffe.bundle.x509bundle.X509Bundle;
import io.spiffe.bundle.x509bundle.X509BundleSet;
import io.spiffe.provider.SpiffeKeyManager;
import io.spiffe.provider.SpiffeSslContextFactory;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.DefaultX509Source;
import io.spiffe.workloadapi.Watcher;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import io.spiffe.workloadapi.X509Source;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/** A service as java-spiffe's users write it; it knows nothing of Linchpin. One event a line. */
public final class Peer {
  private static final int PATIENCE_MS = 10_000;

  private static synchronized void say(String line) {
    System.out.println(line);
  }

  private static void describe(Iterable<X509Svid> svids, X509BundleSet bundles) {
    for (X509Svid svid : svids) {
      say(
          "svid %s %s certificates=%d"
              .formatted(
                  svid.getSpiffeId(),
                  svid.getLeaf().getSerialNumber().toString(16),
                  svid.getChain().size()));
    }
    for (X509Bundle bundle : bundles.getBundles().values()) {
      say("bundle %s %d".formatted(bundle.getTrustDomain(), bundle.getX509Authorities().size()));
    }
  }

  private static void fetch() throws Exception {
    try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
      X509Context context = client.fetchX509Context();
      describe(context.getX509Svids(), client.fetchX509Bundles());
    }
  }

  private static void watch() throws Exception {
    try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient()) {
      client.watchX509Context(
          new Watcher<>() {
            @Override
            public void onUpdate(X509Context update) {
              describe(update.getX509Svids(), update.getX509BundleSet());
              say("updated");
            }

            @Override
            public void onError(Throwable error) {
              say("error " + error);
            }
          });
      new CountDownLatch(1).await();
    }
  }

  /** Who may be at the other end, and who says so: java-spiffe, or the JDK's own PKIX. */
  private record Check(boolean bySpiffe, String expected) {
    SSLContext context(X509Source source) throws Exception {
      if (bySpiffe) {
        return SpiffeSslContextFactory.getSslContext(
            SpiffeSslContextFactory.SslContextOptions.builder()
                .x509Source(source)
                .acceptedSpiffeIdsSupplier(() -> Set.of(SpiffeId.parse(expected)))
                .build());
      }
      KeyStore anchors = KeyStore.getInstance(KeyStore.getDefaultType());
      anchors.load(null, null);
      X509Bundle bundle =
          source.getBundleForTrustDomain(SpiffeId.parse(expected).getTrustDomain());
      for (X509Certificate anchor : bundle.getX509Authorities()) {
        anchors.setCertificateEntry(String.valueOf(anchors.size()), anchor);
      }
      TrustManagerFactory pkix = TrustManagerFactory.getInstance("PKIX");
      pkix.init(anchors);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(
          new KeyManager[] {new SpiffeKeyManager(source)}, pkix.getTrustManagers(), null);
      return context;
    }

    /** Who is at the other end: ID and serial number. */
    String handshake(SSLSocket socket) throws Exception {
      socket.setSoTimeout(PATIENCE_MS);
      socket.startHandshake();
      String shown = shownBy(socket);
      if (!shown.startsWith(expected + " ")) {
        throw new IOException("expected " + expected + ", found " + shown);
      }
      return shown;
    }
  }

  private static String shownBy(SSLSocket socket) throws Exception {
    X509Certificate leaf = (X509Certificate) socket.getSession().getPeerCertificates()[0];
    String id =
        leaf.getSubjectAlternativeNames().stream()
            .filter(name -> name.get(0).equals(6)) // RFC 5280: uniformResourceIdentifier
            .map(name -> (String) name.get(1))
            .findFirst()
            .orElseThrow();
    return id + " " + leaf.getSerialNumber().toString(16);
  }

  /** Says to each line whom it hears. */
  private static void answer(SSLSocket socket, Check check) {
    try (socket) {
      String caller = check.handshake(socket);
      say("accepted " + caller);
      String id = caller.split(" ")[0] + "\n";
      BufferedReader lines = reader(socket);
      while (lines.readLine() != null) {
        socket.getOutputStream().write(id.getBytes(StandardCharsets.UTF_8));
      }
    } catch (Exception error) {
      say("refused " + causes(error));
    }
  }

  private static BufferedReader reader(SSLSocket socket) throws IOException {
    return new BufferedReader(
        new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
  }

  // A context a connection, at either end: no session is resumed, anchors are the newest.

  private static void serve(X509Source source, Check check) throws Exception {
    try (ServerSocket server = new ServerSocket(0)) {
      say("listening 127.0.0.1:" + server.getLocalPort());
      while (true) {
        Socket accepted = server.accept();
        SSLSocketFactory factory = check.context(source).getSocketFactory();
        SSLSocket socket = (SSLSocket) factory.createSocket(accepted, null, true);
        socket.setNeedClientAuth(true);
        new Thread(() -> answer(socket, check)).start();
      }
    }
  }

  /** Asks on ever new connections. A failure is an event and no end. */
  private static void call(X509Source source, String to, Check check) throws Exception {
    String host = to.split(":")[0];
    int port = Integer.parseInt(to.split(":")[1]);
    while (true) {
      SSLSocketFactory factory = check.context(source).getSocketFactory();
      try (SSLSocket socket = (SSLSocket) factory.createSocket(host, port)) {
        String server = check.handshake(socket);
        socket.getOutputStream().write("who am I?\n".getBytes(StandardCharsets.UTF_8));
        String me = reader(socket).readLine();
        if (me == null) {
          throw new IOException("the server hung up");
        }
        say("answered " + server + " as " + me);
      } catch (Exception error) {
        say("failed " + causes(error));
      }
      Thread.sleep(20);
    }
  }

  private static String causes(Throwable error) {
    StringBuilder text = new StringBuilder();
    for (Throwable at = error; at != null; at = at.getCause()) {
      text.append(at).append("; ");
    }
    return text.toString().replace('\n', ' ');
  }

  /**
   * usage: java Peer fetch | watch | CHECK serve ALLOWED-ID | CHECK call EXPECTED-ID HOST:PORT.
   * CHECK is spiffe or pkix.
   */
  public static void main(String[] args) {
    try {
      if (args.length == 1) {
        switch (args[0]) {
          case "fetch" -> fetch();
          case "watch" -> watch();
          default -> throw new IllegalArgumentException(args[0]);
        }
      } else {
        Check check = new Check(args[0].equals("spiffe"), args[2]);
        X509Source source = DefaultX509Source.newSource();
        if (args[1].equals("serve")) {
          serve(source, check);
        } else {
          call(source, args[3], check);
        }
      }
      System.exit(0);
    } catch (Exception error) {
      say("error " + causes(error));
      System.exit(1);
    }
  }
}
