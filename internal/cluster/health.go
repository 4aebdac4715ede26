package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// Health asks a role of a machine for its health, as the steps do. It needs only
// the configuration and the machines of Deps.
func Health(ctx context.Context, d Deps, m config.Machine, r plan.Role) error {
	h := d.Hosts[m.Hostname]
	if h == nil {
		return fmt.Errorf("machine %q is unreachable", m.Hostname)
	}
	return (&cluster{Deps: d}).healthy(ctx, h, r)
}

// EtcdStatus is the status that an etcd reports.
type EtcdStatus struct {
	Member   uint64 // the one that was asked
	Leader   uint64 // 0 if there is none
	Version  string
	Size     int64 // of its file
	Used     int64 // the part in use; defragmentation frees the rest
	Quota    int64 // 0 if unknown
	Errors   []string
	Alarms   []string
	Members  int
	Learners int
}

// ReadEtcd reads the status of the etcd in one of the two slots of a machine.
func ReadEtcd(ctx context.Context, h machine.Host, role plan.Role) (EtcdStatus, error) {
	ask := layout.RoleLink(role) + "/bin/" + etcdctlArgs(layout.SlotOf(role)) + " --dial-timeout=2s --command-timeout=5s"
	out, err := sh(ctx, h, "%[1]s endpoint status -w json; echo; %[1]s alarm list -w json; echo; %[1]s member list -w json", ask)
	if err != nil {
		return EtcdStatus{}, fmt.Errorf("ask etcd on %q: %w", h.Name(), err)
	}
	s, err := parseEtcd([]byte(out))
	if err != nil {
		return s, fmt.Errorf("read the status of etcd on %q: %w", h.Name(), err)
	}
	return s, nil
}

// parseEtcd reads three JSON documents: status, alarms, members.
func parseEtcd(data []byte) (EtcdStatus, error) {
	var status []struct {
		Status struct {
			Header struct {
				MemberID uint64 `json:"member_id"`
			} `json:"header"`
			Version string   `json:"version"`
			Leader  uint64   `json:"leader"`
			Size    int64    `json:"dbSize"`
			Used    int64    `json:"dbSizeInUse"`
			Quota   int64    `json:"dbSizeQuota"`
			Errors  []string `json:"errors"`
		} `json:"Status"`
	}
	var alarms struct {
		Alarms []struct {
			Alarm any `json:"alarm"` // a number or its name, depending on the version of etcd
		} `json:"alarms"`
	}
	var members struct {
		Members memberList `json:"members"`
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	for _, into := range []any{&status, &alarms, &members} {
		if err := decoder.Decode(into); err != nil {
			return EtcdStatus{}, err
		}
	}
	if len(status) != 1 {
		return EtcdStatus{}, fmt.Errorf("%d endpoints answered, not one", len(status))
	}
	one := status[0].Status
	s := EtcdStatus{Member: one.Header.MemberID, Leader: one.Leader, Version: one.Version,
		Size: one.Size, Used: one.Used, Quota: one.Quota, Errors: one.Errors, Members: len(members.Members)}
	for _, a := range alarms.Alarms {
		s.Alarms = append(s.Alarms, alarmName(a.Alarm))
	}
	for _, m := range members.Members {
		if m.Learner {
			s.Learners++
		}
	}
	return s, nil
}

// alarmName names the numbers of AlarmType (etcdserverpb).
func alarmName(v any) string {
	switch v {
	case float64(1):
		return "NOSPACE"
	case float64(2):
		return "CORRUPT"
	default:
		return fmt.Sprint(v)
	}
}
