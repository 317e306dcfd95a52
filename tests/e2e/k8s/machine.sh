# SPDX-License-Identifier: Apache-2.0
# Copyright The Linchpin Authors

# How the name spaces of a node begin; read by up.sh and again.sh.
# shellcheck shell=bash disable=SC2154  # the node's own settings are its env's

# A control group of its own in each hierarchy, below the one that this shell is in.
make_control_groups() {
  local controllers path root group file
  while IFS=: read -r _ controllers path; do
    case $controllers in
      '') root=/sys/fs/cgroup/unified ;;
      *) root=/sys/fs/cgroup/${controllers#name=} ;;
    esac
    group=$root${path%/}/e2e-$(basename "$STATE")-$NODE
    mkdir -p "$group"
    echo "$group" >>"$NODEDIR/cgroups"
    [[ $controllers != cpuset ]] || for file in cpuset.cpus cpuset.mems; do
      cat "$root${path%/}/$file" >"$group/$file"
    done
  done </proc/self/cgroup
}

# Of NODE, whose files are in NODEDIR.
boot_node() {
  local outside first='' router
  rm -f "$NODEDIR/"{cgroups,netns-ready,pid,pid-unshare}
  make_control_groups
  # shellcheck disable=SC2016  # the shell inside expands it
  setsid bash -c 'while read -r group; do echo $$ >"$group/cgroup.procs"; done <"$1/cgroups"
    exec unshare --cgroup --mount --net --pid --ipc --uts --fork --kill-child --mount-proc \
      "$2/node.sh" "$1"' _ "$NODEDIR" "$HERE" </dev/null >"$LOG/$NODE/unshare.log" 2>&1 &
  outside=$!
  echo "$outside" >"$NODEDIR/pid-unshare"
  for _ in $(seq 100); do
    first=$(cat "/proc/$outside/task/$outside/children" 2>/dev/null || true)
    first=${first%% *}
    [[ -n $first && -e $NODEDIR/netns-ready ]] && break
    sleep 0.05
  done
  echo "$first" >"$NODEDIR/pid"
  [[ -e $NODEDIR/netns-ready ]] || die "$NODE has no name spaces"
  if ((INDEX > 1)); then
    router=$(cat "$STATE/nodes/${NODES%% *}/pid")
    nsenter -t "$router" -n ip link del "port$INDEX" 2>/dev/null || true # of before
    ip link add "port$INDEX" netns "$router" type veth peer name eth0 netns "$first"
    nsenter -t "$router" -n sh -c "ip link set port$INDEX up &&
      ip route add $NODE_IP dev port$INDEX src $API_IP &&
      ip route add $POD_CIDR via $NODE_IP dev port$INDEX src $API_IP"
  fi
}
