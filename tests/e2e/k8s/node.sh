#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# node.sh NODEDIR: the first process of a node's own mount, network, pid, ipc, uts and control group
# name spaces. Makes the machine, starts what runs on it; the kernel ends all of it with this.
set -eu
NODEDIR=$1
# shellcheck source=/dev/null
. "$NODEDIR/env"
exec >>"$LOG/node.log" 2>&1
hostname "$NODE"
mount --make-rprivate /
mount --make-rshared / # inside, so that mounts can be propagated both ways

# Control groups: this name space's own root of each hierarchy.
hierarchies=$(sed -n "s/.* - cgroup [^ ]* //p" /proc/self/mountinfo)
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for options in $hierarchies; do
  name=$(echo "$options" | tr , '\n' | grep -v '^rw$' | paste -sd,)
  folder=/sys/fs/cgroup/${name#name=}
  mkdir -p "$folder"
  mount -t cgroup -o "$name" cgroup "$folder"
done
mkdir -p /sys/fs/cgroup/unified
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified || true

# Nothing of the machine's own is written.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/containerd /run/netns
for folder in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods \
  /var/log/containers /var/lib/linchpin-agent; do
  mkdir -p "$NODEDIR/root$folder" "$folder"
  mount --bind "$NODEDIR/root$folder" "$folder"
done
# The kubelet sets these for the whole kernel: it is shown files that say it was done.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=$NODEDIR/sysctl-$(echo "${setting%%=*}" | tr / _)
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%%=*}"
done

# Network: a pair of devices carries the address; the first node routes between the others. (Not a
# bridge: packets that are routed and bridged in one name space were lost.)
ip link set lo up
if [ "$INDEX" = 1 ]; then
  ip link add eth0 type veth peer name eth0-peer
  ip link set eth0-peer up
fi
touch "$NODEDIR/netns-ready"
for _ in $(seq 100); do
  ip link show eth0 >/dev/null 2>&1 && break
  sleep 0.1
done
ip addr add "$NODE_IP/32" dev eth0
ip link set eth0 up
if [ "$INDEX" = 1 ]; then
  ip route add default dev eth0 # the kubelet wants one; nothing is behind it
else
  ip route add "$API_IP" dev eth0
  ip route add default via "$API_IP" dev eth0
fi
sysctl -qw net.ipv4.ip_forward=1

# As a service manager would: started again when it ends.
start() {
  local name=$1
  shift
  (
    set +e
    while :; do
      "$@" &
      echo $! >"$NODEDIR/pid-$name"
      wait $!
      echo "--- $name ended with $?, again in 1 s"
      sleep 1
    done
  ) >"$LOG/$name.log" 2>&1 &
}
. "$HERE/components.sh"
trap 'exit 0' TERM
while :; do
  sleep 3600 &
  wait $! || true
done
