// SPDX-License-Identifier: Apache-2.0
// Copyright The Linchpin Authors

#include "agent/attest/container_cgroup.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace linchpin::agent {
namespace {

constexpr char kUid[] = "0d9c3e5a-7b1f-4c62-9d8e-2f6a1b3c4d5e";
constexpr char kOtherUid[] = "11111111-2222-3333-4444-555555555555";
constexpr char kId[] = "3b1f0e6d9a2c48757f60e1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6d5e4f30";
constexpr char kOtherId[] = "aaaaaaaabbbbbbbbccccccccddddddddeeeeeeeeffffffff0000000011111111";

// UID, ID and U_ID (as systemd spells it) stand for the pod's and the container's.
std::string Filled(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"OTHERUID", kOtherUid},
                                    {"OTHERID", kOtherId},
                                    {"U_ID", absl::StrReplaceAll(kUid, {{"-", "_"}})},
                                    {"UID", kUid},
                                    {"ID", kId}});
}

struct Case {
  const char* what;
  const char* cgroup;
};

std::string NameOf(const testing::TestParamInfo<Case>& info) { return info.param.what; }

class InAContainer : public testing::TestWithParam<Case> {};

TEST_P(InAContainer, ThePodAndTheContainerAreFound) {
  const auto found = ContainerInCgroup(Filled(GetParam().cgroup));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->pod_uid, kUid);
  EXPECT_EQ(found->container_id, kId);
}

constexpr Case kInside[] = {
    {"v2_systemd_containerd",
     "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/"
     "cri-containerd-ID.scope\n"},
    {"v2_systemd_containerd_guaranteed",
     "0::/kubepods.slice/kubepods-podU_ID.slice/cri-containerd-ID.scope\n"},
    {"v2_systemd_crio",
     "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/"
     "crio-ID.scope\n"},
    {"v2_systemd_crio_with_a_group_of_its_own",
     "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/"
     "crio-ID.scope/container\n"},
    {"v2_systemd_docker",
     "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/"
     "docker-ID.scope\n"},
    {"v2_cgroupfs_containerd", "0::/kubepods/besteffort/podUID/ID\n"},
    {"v2_cgroupfs_guaranteed", "0::/kubepods/podUID/ID\n"},
    {"v2_cgroupfs_crio", "0::/kubepods/burstable/podUID/crio-ID\n"},
    {"v2_from_a_name_space_of_the_same_class",
     "0::/../../kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope\n"},
    {"v2_from_a_name_space_of_another_class",
     "0::/../../../kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/"
     "cri-containerd-ID.scope\n"},
    {"v2_cgroupfs_from_a_name_space", "0::/../../podUID/ID\n"},
    {"v1_cgroupfs_containerd",
     "12:perf_event:/kubepods/burstable/podUID/ID\n"
     "11:cpu,cpuacct:/kubepods/burstable/podUID/ID\n"
     "10:memory:/kubepods/burstable/podUID/ID\n"
     "1:name=systemd:/kubepods/burstable/podUID/ID\n"},
    {"v1_systemd_docker",
     "11:devices:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/"
     "docker-ID.scope\n"
     "1:name=systemd:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/"
     "docker-ID.scope\n"},
    {"hybrid_with_v2_filled_in",
     "4:memory:/kubepods/besteffort/podUID/ID\n"
     "0::/kubepods/besteffort/podUID/ID\n"},
    {"hybrid_with_v2_left_at_the_root",
     "4:memory:/kubepods/besteffort/podUID/ID\n3:cpuset:/\n0::/\n"},
    {"hybrid_with_v2_in_the_runtimes_unit",
     "4:memory:/kubepods/besteffort/podUID/ID\n0::/system.slice/containerd.service\n"},
    {"containerd_with_the_other_driver",
     "11:memory:/system.slice/containerd.service/kubepods-besteffort-podU_ID.slice:"
     "cri-containerd:ID\n"},
    {"k3s_with_the_other_driver",
     "0::/system.slice/k3s.service/kubepods-besteffort-podU_ID.slice:cri-containerd:ID\n"},
    {"kubelet_in_a_slice_of_its_own",
     "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
     "kubelet-kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope\n"},
    {"a_node_that_is_a_docker_container",
     "0::/docker/OTHERID/kubelet/kubepods/besteffort/podUID/ID\n"},
    {"a_cgroup_root_given_to_the_kubelet", "0::/machines/kubepods/besteffort/podUID/ID\n"},
    {"docker_in_the_container", "0::/kubepods/besteffort/podUID/ID/docker/OTHERID\n"},
    {"systemd_in_the_container", "0::/kubepods/besteffort/podUID/ID/system.slice/nginx.service\n"},
    {"a_pod_in_the_container",
     "0::/kubepods/besteffort/podUID/ID/kubelet/kubepods/besteffort/podOTHERUID/OTHERID\n"},
};
INSTANTIATE_TEST_SUITE_P(ContainerCgroup, InAContainer, testing::ValuesIn(kInside), NameOf);

class InNoContainer : public testing::TestWithParam<Case> {};

TEST_P(InNoContainer, NothingIsFound) {
  const auto found = ContainerInCgroup(Filled(GetParam().cgroup));
  EXPECT_FALSE(found.has_value()) << found->pod_uid << " " << found->container_id;
}

constexpr Case kOutside[] = {
    {"nothing", ""},
    {"the_root", "0::/\n"},
    {"a_session_of_a_user", "0::/user.slice/user-1000.slice/session-3.scope\n"},
    {"a_unit", "0::/system.slice/ssh.service\n"},
    {"the_kubelet_itself", "0::/system.slice/kubelet.service\n"},
    {"a_container_of_docker_alone", "0::/docker/ID\n"},
    {"the_pod_without_a_container", "0::/kubepods/besteffort/podUID\n"},
    {"the_monitor_of_crio",
     "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_ID.slice/"
     "crio-conmon-ID.scope\n"},
    {"a_user_who_names_groups_so",
     "0::/user.slice/user-1000.slice/user@1000.service/kubepods.slice/"
     "kubepods-besteffort-podU_ID.slice/cri-containerd-ID.scope\n"},
    {"a_user_who_names_groups_so_on_v1", "4:memory:/user.slice/kubepods/besteffort/podUID/ID\n"},
    {"a_unit_that_names_groups_so",
     "0::/system.slice/build.service/kubepods/besteffort/podUID/ID\n"},
    {"a_unit_that_names_groups_so_the_other_way",
     "0::/system.slice/build.service/kubepods-besteffort-podU_ID.slice:cri-containerd:ID\n"},
    {"a_container_of_docker_that_names_groups_so",
     "0::/system.slice/docker-OTHERID.scope/kubepods/besteffort/podUID/ID\n"},
    {"what_looks_so_below_the_runtimes_unit",
     "0::/system.slice/containerd.service/kubepods/besteffort/podUID/ID\n"},
    {"a_pod_outside_of_the_kubelet", "0::/podUID/ID\n"},
    {"two_pods_at_once",
     "4:memory:/kubepods/besteffort/podUID/ID\n"
     "0::/kubepods/besteffort/podOTHERUID/ID\n"},
    {"two_containers_at_once",
     "4:memory:/kubepods/besteffort/podUID/ID\n"
     "0::/kubepods/besteffort/podUID/OTHERID\n"},
    {"a_line_that_is_none", "4:memory:/kubepods/besteffort/podUID/ID\nkubepods\n"},
    {"an_id_that_is_too_short", "0::/kubepods/besteffort/podUID/0123456789abcdef\n"},
    {"an_id_that_is_no_number",
     "0::/kubepods/besteffort/podUID/the-container-of-somebody-else-x\n"},
    {"a_uid_that_is_none", "0::/kubepods/besteffort/pod..%2f/ID\n"},
    {"a_uid_that_is_empty", "0::/kubepods/besteffort/pod/ID\n"},
    {"a_relative_path", "0::kubepods/besteffort/podUID/ID\n"},
};
INSTANTIATE_TEST_SUITE_P(ContainerCgroup, InNoContainer, testing::ValuesIn(kOutside), NameOf);

TEST(ContainerCgroup, ALongOneIsReadAll) {
  std::string cgroup;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&cgroup, i, ":net_cls:/\n");
  EXPECT_TRUE(ContainerInCgroup(cgroup + Filled("0::/kubepods/podUID/ID\n")).has_value());
}

}  // namespace
}  // namespace linchpin::agent
