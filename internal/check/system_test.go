package check

import (
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/test/inspecttest"
)

// Each distribution is known by its own files; what PAI does not know is refused before a
// boot, and named in a cluster.
func TestSystems(t *testing.T) {
	t.Parallel()
	const (
		debian12 = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n"
		debian13 = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nID=debian\nDEBIAN_VERSION_FULL=13.1\n"
		forky    = "PRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nID=debian\n"
		ubuntu22 = "PRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\nID_LIKE=debian\n"
		ubuntu24 = "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n"
		ubuntu25 = "PRETTY_NAME=\"Ubuntu 25.04\"\nVERSION_ID=\"25.04\"\nID=ubuntu\nID_LIKE=debian\n"
		rocky9   = "NAME=\"Rocky Linux\"\nVERSION=\"9.6 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.6\"\nPRETTY_NAME=\"Rocky Linux 9.6 (Blue Onyx)\"\n"
		rocky8   = "ID=\"rocky\"\nVERSION_ID=\"8.10\"\nPRETTY_NAME=\"Rocky Linux 8.10 (Green Obsidian)\"\n"
		like     = "# a comment\nID=deepin\nID_LIKE=debian\nVERSION_ID=12\n"
	)
	for _, c := range []struct {
		name, release, systemd, selinux string
		joined                          bool
		want                            Outcome
		found                           string
	}{
		{"Debian 12", debian12, "systemd 252 (252.39-1~deb12u1)\n+PAM", "", false, OK, "Debian GNU/Linux 12 (bookworm), systemd 252"},
		{"Debian 13", debian13, "systemd 257 (257.8-1~deb13u2)\n+PAM", "", false, OK, "systemd 257"},
		{"Debian testing", forky, "systemd 258 (258-1)", "", false, Failed, "PAI does not know Debian GNU/Linux forky/sid"},
		{"Ubuntu 22.04", ubuntu22, "systemd 249 (249.11-0ubuntu3.16)\n+PAM", "", false, OK, "Ubuntu 22.04.5 LTS, systemd 249"},
		{"Ubuntu 24.04", ubuntu24, "systemd 255 (255.4-1ubuntu8.10)\n+PAM", "", false, OK, "Ubuntu 24.04.3 LTS, systemd 255"},
		{"Ubuntu 25.04", ubuntu25, "systemd 257 (257.4-1ubuntu3)", "", false, Failed, "PAI does not know Ubuntu 25.04"},
		{"Rocky 9, permissive", rocky9, "systemd 252 (252-51.el9)\n+PAM", "0", false, OK, "Rocky Linux 9.6 (Blue Onyx), systemd 252"},
		{"Rocky 9", rocky9, "systemd 252 (252-51.el9)\n+PAM", "1", false, Failed, "SELinux is enforcing"},
		{"Rocky 9 in a cluster", rocky9, "systemd 252 (252-51.el9)\n+PAM", "1", true, Warning, "SELinux is enforcing"},
		{"Rocky 8", rocky8, "systemd 239 (239-82.el8)", "0", false, Failed, "PAI does not know Rocky Linux 8.10"},
		{"a relative", like, "systemd 252", "", false, Failed, "PAI does not know deepin 12"},
		{"a relative in a cluster", like, "systemd 252", "", true, Warning, "PAI does not know deepin 12"},
		{"nothing", "", "", "", false, Failed, "an operating system without /etc/os-release"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := inspecttest.NewRoot(t)
			r.Write("/proc/sys/kernel/hostname", "gpu-01\n")
			r.Write("/proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
			r.Write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
			if c.release != "" {
				r.Write("/etc/os-release", c.release)
			}
			if c.systemd != "" {
				r.Programs["systemctl --version"] = c.systemd
			}
			if c.selinux != "" {
				r.Write("/sys/fs/selinux/enforce", c.selinux)
			}
			report := r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
			if report.Condition == nil || report.Condition.System == nil {
				t.Fatalf("got no system: %v", report.Problems)
			}
			m := workerMachine(machineFacts{Condition: *report.Condition})
			m.state.Joined = c.joined
			expect(t, []expectation{{c.name, system(m), c.want, c.found}})
		})
	}
	expect(t, []expectation{{"unknown", system(workerMachine(machineFacts{})), Unknown, "unknown"}})
}
