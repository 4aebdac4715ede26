package plan

import (
	"slices"

	"pai.dev/pai/internal/pai"
)

// has reports whether a role of a machine is linked to, and runs, what the
// version asks for or something newer.
func (k *kubernetes) has(m MachineState, r Role) bool {
	s := m.Roles[r]
	return m.Unreachable == "" && k.suits(r, s.Link) && k.suits(r, s.Running) && len(k.differs(m, r)) == 0
}

// differs names what differs in a role that has the version, or the same
// programs by their names, but not what the release has under these names. A
// role that has an older version is moved anyway, a newer one stays, and a
// rollback only moves what is newer.
func (k *kubernetes) differs(m MachineState, r Role) []string {
	s := m.Roles[r]
	if k.rollback || s.Running == "" || m.Unreachable != "" || !k.suits(r, s.Running) || k.to.Less(s.Running) {
		return nil
	}
	names := s.differences(k.o.Expected[m.Name].of(k.to).Roles[r])
	if k.several() && !s.Elects && electing(r) && !slices.Contains(names, DiffersSettings) {
		names = append(names, DiffersSettings)
	}
	return names
}

// electing reports whether a role works on one machine at a time.
func electing(r Role) bool { return r == RoleControllerManager || r == RoleScheduler }

// slotsDiffer is differs for the control plane's roles with two slots.
func (k *kubernetes) slotsDiffer(m MachineState, roles ...Role) []string {
	var names []string
	for _, r := range roles {
		names = append(names, k.differs(m, r)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// version is the version with the build that the programs have on a machine.
func (k *kubernetes) version(m MachineState) pai.KubernetesVersion {
	return m.Directory(k.to, k.o.Expected[m.Name])
}

// isPrepared reports whether a machine was prepared as this release prepares it.
func (k *kubernetes) isPrepared(m MachineState) bool {
	return m.Prepared && len(k.preparedDiffers(m)) == 0
}

func (k *kubernetes) preparedDiffers(m MachineState) []string {
	if want := k.o.Expected[m.Name].Prepared; m.Prepared && want != "" && m.PreparedAs != want {
		return []string{DiffersFiles}
	}
	return nil
}

func (k *kubernetes) suits(r Role, v pai.KubernetesVersion) bool {
	if k.rollback {
		return v != "" && (k.to.AtLeast(v) || k.pins.same(r, v, k.to) || k.staysNewer(r, v))
	}
	return v != "" && (v.AtLeast(k.to) || k.pins.same(r, v, k.to))
}

// slots is has for a role with two slots. One of them runs, and slots is false
// while a handover is incomplete. The link of the retired slot is removed last.
// If the other slot is newer than this version, a later hop retires the first.
func (k *kubernetes) slots(m MachineState, a, b Role) bool {
	leftover := func(r, other Role) bool {
		if m.Roles[r].Running == "" {
			return m.Roles[r].Link != "" && !k.to.Less(m.Roles[other].Running)
		}
		return !k.has(m, r)
	}
	return (k.has(m, a) || k.has(m, b)) && !leftover(a, b) && !leftover(b, a)
}
