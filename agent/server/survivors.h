// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

// Which processes that this agent served before its restart still run.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "agent/core/events.h"
#include "linchpin/state/v1/agent_state.pb.h"
#include "rpc/unix_peer.h"

namespace linchpin::agent {

// Of the kernel that runs; empty: it does not say.
std::string BootId();

using Survivors = std::map<ProcessId, std::shared_ptr<const rpc::UnixPeer>>;

// Each costs an open file: of more than a sixteenth of those that are allowed, the rest is left
// out, and so is what names no process.
Survivors FindSurvivors(const state::v1::ServedProcesses& served,
                        const rpc::ProcessTable& table = rpc::KernelProcessTable());

}  // namespace linchpin::agent
