#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# Starts a cluster. Not zero if it is not ready in ${LIMIT:-120} s; what its parts wrote is below
# $STATE/log. The environment may say NODES, APISERVER_EXTRA, KCM_EXTRA.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/settings.sh"
LIMIT=${LIMIT:-120} begun=$(date +%s%N)
[[ ! -e $STATE ]] || { echo "up: there is $STATE already; ./dev k8s down ends it" >&2; exit 1; }

elapsed() { echo $((($(date +%s%N) - begun) / 1000000)); }
say() { printf '%6d ms  %s\n' "$(elapsed)" "$*"; }
die() {
  echo "up: $*; see $LOG" >&2
  exit 1
}
wait_for() { # WHAT COMMAND...
  local what=$1
  shift
  until "$@" >/dev/null 2>&1; do
    (($(elapsed) < LIMIT * 1000)) || die "$what not within $LIMIT s"
    sleep 0.2
  done
  say "$what"
}

# shellcheck source=tests/e2e/k8s/machine.sh
. "$HERE/machine.sh"

# --- keys and certificates ------------------------------------------------------------------------
readonly KEY=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

authority() { # NAME SUBJECT
  openssl req -x509 "${KEY[@]}" -days 30 -subj "/CN=$2" -keyout "$PKI/$1.key" -out "$PKI/$1.crt" \
    -addext keyUsage=critical,digitalSignature,keyCertSign,cRLSign 2>/dev/null
}

certificate() { # NAME AUTHORITY SUBJECT USAGE [NAMES]
  openssl req -new "${KEY[@]}" -subj "$3" -keyout "$PKI/$1.key" -out "$PKI/$1.csr" 2>/dev/null
  {
    echo keyUsage=critical,digitalSignature
    echo "extendedKeyUsage=$4"
    [[ -z ${5:-} ]] || echo "subjectAltName=$5"
  } >"$PKI/$1.ext"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -CAcreateserial \
    -days 30 -out "$PKI/$1.crt" -extfile "$PKI/$1.ext" 2>/dev/null
}

kubeconfig() { # NAME
  cat >"$KCFG/$1.conf" <<YAML
apiVersion: v1
kind: Config
current-context: e2e
contexts: [{name: e2e, context: {cluster: e2e, user: u}}]
clusters:
- {name: e2e, cluster: {server: "https://$API_IP:6443", certificate-authority: $PKI/ca.crt}}
users:
- {name: u, user: {client-certificate: $PKI/$1.crt, client-key: $PKI/$1.key}}
YAML
}

make_pki() {
  local names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc component
  names+=,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
  names+=,IP:127.0.0.1,IP:$API_IP,IP:$SVC_IP
  authority ca kubernetes-e2e
  authority front-proxy-ca front-proxy-e2e
  openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
  openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null
  certificate apiserver ca /CN=kube-apiserver serverAuth "$names"
  certificate apiserver-kubelet-client ca /CN=kube-apiserver-kubelet-client clientAuth
  certificate front-proxy-client front-proxy-ca /CN=front-proxy-client clientAuth
  certificate admin ca /O=system:masters/CN=e2e-admin clientAuth
  for component in kube-controller-manager kube-scheduler kube-proxy; do
    certificate "$component" ca "/CN=system:$component" clientAuth
    kubeconfig "$component"
  done
  kubeconfig admin
}

# --- one node -------------------------------------------------------------------------------------
write_kubelet_config() {
  cat >"$NODEDIR/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $PKI/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server-$NODE.crt
tlsPrivateKeyFile: $PKI/kubelet-server-$NODE.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
maxPods: 130 # with 110 of a test's, those that are there anyway
failCgroupV1: false
failSwapOn: false
resolvConf: ""
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  {memory.available: "1%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
nodeStatusUpdateFrequency: 5s
staticPodPath: $NODEDIR/static
fileCheckFrequency: 2s
YAML
}

write_runtime_config() {
  cat >"$NODEDIR/containerd.toml" <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true # a negative one takes a capability that is not there
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODEDIR/cni"
TOML
  cat >"$NODEDIR/cni/10-bridge.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "e2e", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_CIDR"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

write_env() {
  local name
  for name in HERE STATE BIN NODES NODE INDEX NODE_IP API_IP POD_CIDR CLUSTER_CIDR SVC_CIDR DNS_IP \
    ISSUER PKI KCFG NODEDIR APISERVER_EXTRA KCM_EXTRA; do
    printf '%s=%q\n' "$name" "${!name:-}"
  done
  printf 'LOG=%q\n' "$LOG/$NODE"
}

start_node() { # NODE INDEX
  # shellcheck disable=SC2034  # machine.sh's, too
  NODE=$1 INDEX=$2 NODE_IP=10.99.0.$2 POD_CIDR=10.98.$2.0/24 NODEDIR=$STATE/nodes/$1
  mkdir -p "$NODEDIR/cni" "$NODEDIR/static" "$LOG/$NODE"
  certificate "kubelet-$NODE" ca "/O=system:nodes/CN=system:node:$NODE" clientAuth
  kubeconfig "kubelet-$NODE"
  certificate "kubelet-server-$NODE" ca "/O=system:nodes/CN=system:node:$NODE" serverAuth \
    "DNS:$NODE,IP:$NODE_IP"
  write_kubelet_config
  write_runtime_config
  write_env >"$NODEDIR/env"
  boot_node
  say "$NODE: its first process is $(cat "$NODEDIR/pid")"
}

on() { # NODE COMMAND...
  ON=$1 "$HERE/in.sh" "${@:2}"
}

# What our own accounts ask of the API server, and how it answers: tests read it.
write_audit_policy() {
  cat >"$STATE/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users:
  - system:serviceaccount:linchpin:linchpin-ca
  - system:serviceaccount:linchpin:linchpin-agent
- level: None
YAML
}

mkdir -p "$LOG" "$PKI" "$KCFG" "$STATE/nodes"
echo $$ >"$STATE/up.pid"
chmod 700 "$STATE"
write_audit_policy
make_pki
index=0
for node in $NODES; do
  index=$((index + 1))
  start_node "$node" "$index"
done
for node in $NODES; do
  wait_for "$node: containerd" on "$node" ctr version
  for archive in "$IMAGES"/*.tar; do
    on "$node" ctr -n k8s.io images import "$archive" >/dev/null
  done
  say "$node: images imported"
done
wait_for "the API server" on "${NODES%% *}" kubectl get --raw /readyz
on "${NODES%% *}" kubectl create clusterrolebinding apiserver-kubelet \
  --clusterrole=system:kubelet-api-admin --user=kube-apiserver-kubelet-client >/dev/null
for node in $NODES; do
  wait_for "$node: Ready" on "${NODES%% *}" \
    kubectl wait --for=condition=Ready --timeout=2s "node/$node"
done
# What a volume is claimed from: there is no one who makes them.
on "${NODES%% *}" mkdir -p /var/lib/containerd/volume
on "${NODES%% *}" kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: local}
spec:
  capacity: {storage: 8Gi}
  accessModes: [ReadWriteOncePod]
  persistentVolumeReclaimPolicy: Retain
  local: {path: /var/lib/containerd/volume}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - {matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: ["${NODES%% *}"]}]}
YAML
wait_for "the controllers" on "${NODES%% *}" kubectl -n default get sa default
rm "$STATE/up.pid"
