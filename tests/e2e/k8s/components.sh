# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# What runs on a node; read by node.sh.
# shellcheck shell=bash disable=SC2086,SC2154  # *_EXTRA are words; the rest is in the node's env
start containerd containerd --config "$NODEDIR/containerd.toml" --log-level info
if [ "$INDEX" = 1 ]; then
  start etcd "$BIN/etcd" --name e2e --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
    --initial-cluster e2e=http://127.0.0.1:2380
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$API_IP" \
    --service-cluster-ip-range="$SVC_CIDR" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" \
    --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$PKI/apiserver-kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" \
    --kubelet-preferred-address-types=InternalIP,Hostname --service-account-issuer="$ISSUER" \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" \
    --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy-client.crt" \
    --proxy-client-key-file="$PKI/front-proxy-client.key" \
    --audit-policy-file="$STATE/audit.yaml" --audit-log-path="$STATE/audit.log" $APISERVER_EXTRA
  start kube-controller-manager "$BIN/kube-controller-manager" \
    --kubeconfig="$KCFG/kube-controller-manager.conf" --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --leader-elect=false --bind-address=127.0.0.1 $KCM_EXTRA
  start kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$KCFG/kube-scheduler.conf" \
    --leader-elect=false --bind-address=127.0.0.1
  ip addr add "$DNS_IP/32" dev lo
  start dns /usr/bin/python3 -B "$HERE/dns.py" "$DNS_IP" "https://$API_IP:6443" "$PKI/ca.crt" \
    "$PKI/admin.crt" "$PKI/admin.key"
fi
# The kubelet ends where containerd is not there yet.
for _ in $(seq 200); do
  [ -S /run/containerd/containerd.sock ] && break
  sleep 0.05
done
start kubelet "$BIN/kubelet" --config="$NODEDIR/kubelet.yaml" \
  --kubeconfig="$KCFG/kubelet-$NODE.conf" --hostname-override="$NODE" --node-ip="$NODE_IP"
start kube-proxy "$BIN/kube-proxy" --kubeconfig="$KCFG/kube-proxy.conf" --proxy-mode=iptables \
  --cluster-cidr="$CLUSTER_CIDR" --hostname-override="$NODE" --conntrack-max-per-core=0 \
  --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 \
  --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
