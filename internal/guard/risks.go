package guard

import (
	"strings"

	"pai.dev/pai/internal/pai"
)

// Names of the risks that the operator can accept with --accept-risk.
const (
	// AcceptInterrupt: running jobs are interrupted.
	AcceptInterrupt = "interrupt-jobs"
	// AcceptLoss: writes since an etcd snapshot are lost.
	AcceptLoss = "lose-writes-since-snapshot"
	// AcceptStrand: queued jobs will not start.
	AcceptStrand = "strand-jobs"
	acceptEvict  = "evict-jobs:"
)

// AcceptEvict returns the name of the risk that the jobs of a machine are ended.
func AcceptEvict(machine string) string { return acceptEvict + machine }

// validateRisks returns a usage error for a name that is not a risk.
func validateRisks(names []string) error {
	for _, n := range names {
		machine, evict := strings.CutPrefix(n, acceptEvict)
		if n == AcceptInterrupt || n == AcceptLoss || n == AcceptStrand || (evict && machine != "") {
			continue
		}
		return pai.Errorf(pai.CodeUsage, "use --accept-risk="+strings.Join([]string{AcceptInterrupt, AcceptLoss, AcceptStrand, AcceptEvict("MACHINE")}, " or --accept-risk="), "%q is not a risk", n)
	}
	return nil
}
