// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** The JDK's own TLS with its own trust managers, anchored at a file. */
public final class Pkix {
  private static final int PATIENCE_MS = 20_000;
  private static final String REQUEST = "GET / HTTP/1.0\r\n\r\n";
  private static final String ANSWER =
      "HTTP/1.0 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\nlet through";

  private static Certificate[] certificates(String path) throws Exception {
    try (InputStream file = new FileInputStream(path)) {
      return CertificateFactory.getInstance("X.509")
          .generateCertificates(file)
          .toArray(new Certificate[0]);
    }
  }

  private static SSLContext context(String anchors, KeyManager[] keys) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    for (Certificate anchor : certificates(anchors)) {
      store.setCertificateEntry(String.valueOf(store.size()), anchor);
    }
    TrustManagerFactory pkix = TrustManagerFactory.getInstance("PKIX");
    pkix.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys, pkix.getTrustManagers(), null);
    return context;
  }

  private static KeyManager[] keys(String chain, String key) throws Exception {
    String pem = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----|\\s", "");
    PrivateKey own =
        KeyFactory.getInstance("EC")
            .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    store.setKeyEntry("own", own, new char[0], certificates(chain));
    KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
    factory.init(store, new char[0]);
    return factory.getKeyManagers();
  }

  private static void dial(String anchors, int port) throws Exception {
    SSLContext context = context(anchors, null);
    try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket()) {
      socket.connect(new java.net.InetSocketAddress(
          InetAddress.getByAddress("localhost", new byte[] {127, 0, 0, 1}), port));
      SSLParameters parameters = socket.getSSLParameters();
      parameters.setEndpointIdentificationAlgorithm("HTTPS");
      socket.setSSLParameters(parameters);
      socket.setSoTimeout(PATIENCE_MS);
      socket.getOutputStream().write(REQUEST.getBytes(StandardCharsets.US_ASCII));
      socket.getInputStream().transferTo(System.out);
    }
  }

  private static void serve(String anchors, String chain, String key, int port) throws Exception {
    SSLContext context = context(anchors, keys(chain, key));
    try (SSLServerSocket server =
        (SSLServerSocket)
            context
                .getServerSocketFactory()
                .createServerSocket(port, 50, InetAddress.getLoopbackAddress())) {
      server.setNeedClientAuth(true);
      while (true) {
        try (SSLSocket socket = (SSLSocket) server.accept()) {
          socket.setSoTimeout(PATIENCE_MS);
          if (socket.getInputStream().read(new byte[4096]) > 0) {
            socket.getOutputStream().write(ANSWER.getBytes(StandardCharsets.US_ASCII));
          }
        } catch (java.io.IOException refused) {
          System.out.println("refused " + refused);
        }
      }
    }
  }

  /** usage: java Pkix dial ANCHORS PORT | serve ANCHORS CHAIN KEY PORT, all files PEM. */
  public static void main(String[] args) throws Exception {
    if (args[0].equals("dial")) {
      dial(args[1], Integer.parseInt(args[2]));
    } else {
      serve(args[1], args[2], args[3], Integer.parseInt(args[4]));
    }
  }
}
