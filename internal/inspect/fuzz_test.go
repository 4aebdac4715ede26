package inspect_test

import (
	"bytes"
	"os"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/test/inspecttest"
)

// FuzzReadAnswer reads what a machine prints. Only a complete answer with the token counts.
func FuzzReadAnswer(f *testing.F) {
	const token = "t0ken"
	var answer bytes.Buffer
	request := bytes.NewReader([]byte(`{"token":"` + token + `","parts":["facts"]}`))
	if err := inspect.Answer(request, &answer, func(inspect.Request) inspect.Report { return inspect.Report{Program: "p"} }); err != nil {
		f.Fatal(err)
	}
	f.Add(answer.Bytes())
	f.Add(append([]byte("Welcome\n"), answer.Bytes()...))
	f.Add([]byte("\nt0ken 2 x\n{}\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		if _, err := inspect.ReadAnswer(out, token); err == nil && !bytes.Contains(out, []byte("\n"+token+" ")) {
			t.Error("an answer without the token counts")
		}
	})
}

// FuzzMachineFiles reads files and program outputs of a machine. A part that cannot be read
// is a problem of the report, and nothing else.
func FuzzMachineFiles(f *testing.F) {
	files := []string{"/etc/os-release", "/proc/meminfo", "/proc/swaps", "/proc/self/mounts", "/proc/net/tcp", "/proc/net/tcp6", "/proc/1/status",
		"/proc/cgroups", "/sys/fs/selinux/enforce", "/etc/pai/resolv.conf", "/proc/stat", "/etc/cni/net.d/05-x.conf", "/etc/systemd/system/containerd.service"}
	programs := []string{"nft list chains", "nft list tables", "systemctl --version", "nvidia-smi --query-gpu=uuid,name --format=csv,noheader"}
	f.Add(uint8(0), []byte("ID=debian\nVERSION_ID=\"12\"\n"), uint8(0), "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n")
	f.Add(uint8(1), []byte("MemTotal: -1 kB\n"), uint8(2), "systemd 252")
	f.Add(uint8(4), []byte("  sl  local_address\n   0: 0100007F:094B 00000000:0000 0A 0:0 00:0 0 0 0 501 1 0\n"), uint8(3), "GPU-1, K80\n")
	f.Fuzz(func(t *testing.T, file uint8, content []byte, program uint8, output string) {
		r := inspecttest.NewRoot(t)
		r.Write("/proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
		r.Write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
		r.Write("/proc/sys/kernel/hostname", "gpu-01\n")
		path := r.At(files[int(file)%len(files)])
		r.Write(files[int(file)%len(files)], "")
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		r.Programs[programs[int(program)%len(programs)]] = output
		r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf, inspect.HardwareOf, inspect.Facts, inspect.Foreign}, Ports: []int{22}}, "p")
	})
}
