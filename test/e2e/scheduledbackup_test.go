//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"pai.dev/pai/test/s3test"
)

// TestBackupsWithoutAnOperator lets the control-plane machine back itself up by a timer.
// Who has the operator key and the private key of the recipient can list, verify, and
// decrypt what the machine made. A share that is not mounted is a failure that status and
// check say, an operation is never backed up in its middle, and without the key in the
// configuration nothing is left but the backups.
func TestBackupsWithoutAnOperator(t *testing.T) {
	inTestAll(t, "three minutes on another cluster")
	o := newOperator(t, "scheduled")
	o.run(20*time.Minute, "up", "--machines", "1")
	s := &scheduledBackups{operator: o, identity: filepath.Join(t.TempDir(), "identity.txt")}
	for _, chapter := range []struct {
		name string
		run  func(*scheduledBackups)
	}{
		{"the timer makes a backup", (*scheduledBackups).timerMakesOne},
		{"the operator trusts it", (*scheduledBackups).operatorTrustsIt},
		{"older ones are deleted", (*scheduledBackups).olderOnesAreDeleted},
		{"a share that is not mounted", (*scheduledBackups).shareIsNotMounted},
		{"a bucket", (*scheduledBackups).bucket},
		{"the timer is removed", (*scheduledBackups).timerIsRemoved},
	} {
		ok := s.part(chapter.name, func(o *operator) {
			outer := s.operator
			s.operator = o
			defer func() { s.operator = outer }()
			chapter.run(s)
		})
		if !ok {
			t.FailNow()
		}
	}
}

// scheduledBackups are the backups of one machine.
type scheduledBackups struct {
	*operator
	identity string // file
	block    string // of the configuration
}

const (
	backupShare = "/mnt/backups"
	backupUnit  = "pai-scheduled-backup"
)

func (s *scheduledBackups) timerMakesOne() {
	identity, err := age.GenerateX25519Identity()
	if err == nil {
		err = os.WriteFile(s.identity, []byte(identity.String()+"\n"), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.on("pai-1", "mkdir -p "+backupShare)
	s.block = "  backup:\n    to: " + backupShare + "\n    every: 1m\n    keep: 2\n    recipients: [" + identity.Recipient().String() + "]\n"
	s.edit("kubernetes:\n", "kubernetes:\n"+s.block)
	if plan := s.run(2*time.Minute, "cluster", "k8s-bootup", "--dry-run"); !strings.Contains(plan, "backup-timer") {
		s.t.Errorf("the plan does not have the timer:\n%s", plan)
	}
	s.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
	s.wait("a backup", func(status string) bool { return strings.Contains(status, "the newest backup is") })
	if out := s.on("pai-1", "stat -c %a /etc/pai/backup.key; cat /run/pai/metrics/backup.prom; ls /var/lib/pai/snapshots -A | grep scratch || :"); !strings.HasPrefix(out, "600\n") ||
		!strings.Contains(out, "pai_backup_last_success_timestamp_seconds") || strings.Contains(out, "scratch") {
		s.t.Errorf("got %s, want a private key, metrics, and no scratch data", out)
	}
	if plan := s.run(2*time.Minute, "cluster", "k8s-bootup", "--dry-run"); strings.Contains(plan, "backup-timer") {
		s.t.Errorf("the plan has the timer again:\n%s", plan)
	}
}

// operatorTrustsIt copies the backups to this host, as a share would show them.
func (s *scheduledBackups) operatorTrustsIt() {
	dir := s.copied()
	if out := s.run(time.Minute, "cluster", "backup", "list", "--from", dir); !strings.Contains(out, "signed by its machine") {
		s.t.Errorf("the backup is not trusted: %s", out)
	}
	if out := s.run(time.Minute, "cluster", "backup", "verify", "--from", dir, "--identity", s.identity); !strings.Contains(out, "its key decrypts a Secret") {
		s.t.Errorf("the backup is not verified: %s", out)
	}
	if out := s.run(2*time.Minute, "check"); !strings.Contains(out, "the newest backup is") {
		s.t.Errorf("the check does not say how old the backup is: %s", out)
	}
}

func (s *scheduledBackups) olderOnesAreDeleted() {
	names := map[string]bool{}
	s.eventually(8*time.Minute, "four backups were made", func() (bool, string) {
		out := s.on("pai-1", "ls "+backupShare)
		for _, name := range strings.Fields(out) {
			names[name] = true
		}
		return len(names) >= 4, out
	})
	s.eventually(2*time.Minute, "two are left", func() (bool, string) {
		out := s.on("pai-1", "ls -d "+backupShare+"/*/manifest.json")
		return len(strings.Fields(out)) == 2, out
	})
}

func (s *scheduledBackups) shareIsNotMounted() {
	s.on("pai-1", fmt.Sprintf("cp /etc/fstab /etc/fstab.before 2>/dev/null || :; echo 'nas:/ %s nfs noauto 0 0' >> /etc/fstab", backupShare))
	s.wait("the failure", func(status string) bool { return strings.Contains(status, "is not mounted") })
	out := s.run(2*time.Minute, "check")
	if !strings.Contains(out, "the last attempt failed") {
		s.t.Errorf("the check does not say that backups fail: %s", out)
	}
	s.on("pai-1", "if [ -e /etc/fstab.before ]; then mv /etc/fstab.before /etc/fstab; else rm /etc/fstab; fi")
	s.wait("the next backup", func(status string) bool { return !strings.Contains(status, "failed") })
}

// bucket lets the machine back up to an S3 server of this host. The key is in a file on the
// machine, and nowhere else.
func (s *scheduledBackups) bucket() {
	server := s3test.Start(s.t, "", "", s.addressForMachines())
	const to, keyFile = "s3://" + s3test.Bucket + "/lab", "/etc/pai-backup/credentials"
	s.on("pai-1", "umask 077; mkdir -p /etc/pai-backup; printf '[default]\\naws_access_key_id = "+s3test.Key+"\\naws_secret_access_key = "+s3test.Secret+"\\n' > "+keyFile)
	block := strings.Replace(s.block, "to: "+backupShare+"\n", "to: "+to+"\n    s3:\n      endpoint: "+server.URL+"\n      credentials-file: "+keyFile+"\n", 1)
	s.edit(s.block, block)
	s.block = block
	s.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": s3test.Key, "AWS_SECRET_ACCESS_KEY": s3test.Secret, "AWS_ENDPOINT_URL_S3": server.URL} {
		s.t.Setenv(name, value)
	}
	s.eventually(5*time.Minute, "a backup in the bucket", func() (bool, string) {
		out := s.run(time.Minute, "cluster", "backup", "list", "--from", to)
		return strings.Contains(out, "signed by its machine"), out
	})
	if out := s.run(time.Minute, "cluster", "backup", "verify", "--from", to, "--identity", s.identity); !strings.Contains(out, "its key decrypts a Secret") {
		s.t.Errorf("the backup is not verified: %s", out)
	}
	s.wait("the bucket in the status", func(status string) bool { return strings.Contains(status, to) && !strings.Contains(status, "failed") })
	out := s.on("pai-1", "journalctl --unit="+backupUnit+" --no-pager | grep -c "+s3test.Secret+" || :; grep -rl "+s3test.Secret+" /etc/pai /var/lib/pai /etc/systemd /run/pai 2>/dev/null || :")
	if strings.TrimSpace(out) != "0" {
		s.t.Errorf("got %s, want the key in its file only", out)
	}
}

// addressForMachines is the address of this host in the network of the machines.
func (s *scheduledBackups) addressForMachines() string {
	s.t.Helper()
	machine := strings.TrimSpace(s.on("pai-1", "ip -4 -o address show dev eth0 | awk '{print $4}' | cut -d/ -f1"))
	connection, err := new(net.Dialer).DialContext(s.t.Context(), "udp", net.JoinHostPort(machine, "22")) // sends nothing
	if err != nil {
		s.t.Fatal(err)
	}
	defer connection.Close()
	host, _, err := net.SplitHostPort(connection.LocalAddr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	return host
}

func (s *scheduledBackups) timerIsRemoved() {
	s.edit(s.block, "")
	s.run(10*time.Minute, "cluster", "k8s-bootup", "--yes")
	out := s.on("pai-1", "systemctl list-units --all --no-legend '"+backupUnit+"*'; ls /etc/systemd/system/"+backupUnit+"* /etc/pai/scheduled-backup.json /run/pai/metrics/backup.prom 2>/dev/null || :")
	if strings.TrimSpace(out) != "" {
		s.t.Errorf("got %s, want nothing of the timer", out)
	}
	if out := s.on("pai-1", "ls "+backupShare); strings.TrimSpace(out) == "" {
		s.t.Error("the backups are deleted")
	}
}

// wait waits for a line about backups in the status.
func (s *scheduledBackups) wait(what string, ok func(status string) bool) {
	s.t.Helper()
	s.eventually(5*time.Minute, what, func() (bool, string) {
		for line := range strings.Lines(s.run(time.Minute, "cluster", "status")) {
			if strings.HasPrefix(line, "backups to ") {
				return ok(line), line
			}
		}
		return false, "no line about backups"
	})
}

// copied are the backups in a directory of this host. No backup is made meanwhile.
func (s *scheduledBackups) copied() string {
	s.t.Helper()
	out := s.on("pai-1", "systemctl stop "+backupUnit+".timer; while [ \"$(systemctl is-active "+backupUnit+")\" = activating ]; do sleep 1; done; "+
		"tar -C "+backupShare+" -cf - . | base64 -w0; systemctl start "+backupUnit+".timer")
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(out))
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	unpack := exec.Command("tar", "-C", dir, "-xf", "-")
	unpack.Stdin = bytes.NewReader(data)
	if out, err := unpack.CombinedOutput(); err != nil {
		s.t.Fatalf("unpack the backups: %v: %s", err, out)
	}
	return dir
}

// edit changes a text in the configuration of Kubernetes.
func (s *scheduledBackups) edit(before, after string) {
	s.t.Helper()
	file := filepath.Join(s.state, "clusters/local/config/kubernetes-configuration.yaml")
	data, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(data), before) {
		err = fmt.Errorf("%s lacks %q", file, before)
	}
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(data), before, after, 1)), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
