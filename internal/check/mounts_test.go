package check

import (
	"fmt"
	"testing"

	"pai.dev/pai/internal/inspect"
)

func TestMountsOfServers(t *testing.T) {
	t.Parallel()
	with := func(silent ...bool) observedMachine {
		c := inspect.Condition{MountsKnown: true}
		for n, s := range silent {
			c.NetworkMounts = append(c.NetworkMounts, inspect.NetworkMount{Path: fmt.Sprintf("/mnt/%d", n), Type: "nfs4", Source: "nas:/data", Silent: s})
		}
		return workerMachine(machineFacts{Condition: c})
	}
	expect(t, []expectation{
		{"no mount", mounts(with()), OK, "0 file systems"},
		{"all answer", mounts(with(false, false)), OK, "2 file systems of servers answer"},
		{"one is silent", mounts(with(false, true)), Failed, "no answer within 5s from nas:/data (nfs4) at /mnt/1"},
		{"many are silent", mounts(with(true, true, true, true, true)), Failed, "/mnt/2, 2 more"},
		{"unknown", mounts(workerMachine(machineFacts{})), Unknown, ""},

		{"a client of NFS", nfsClient(workerMachine(machineFacts{Condition: inspect.Condition{NFSClient: true}}), []string{"data"}), OK, ""},
		{"no client of NFS", nfsClient(workerMachine(machineFacts{}), []string{"data", "sets"}), Failed, "no task with the storage data, sets starts there"},
	})
}
