package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replaceEtcd runs the script of a restart on a made-up machine, and returns what it called.
func replaceEtcd(t *testing.T, files ...string) (calls, link string, ok bool) {
	t.Helper()
	version := "new"
	if slices.Contains(files, "broken") {
		version = "broken"
	}
	return runServingScript(t, "replace-etcd.sh", files, version)
}

// runServingScript runs a script for the etcd in slot a of a made-up machine. Files set up the
// machine: units that run, versions whose etcd does not serve, and answers of the helper.
func runServingScript(t *testing.T, name string, files []string, args ...string) (calls, link string, ok bool) {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(content, "ROOT", root)), 0o700); err != nil { //nolint:gosec // programs
			t.Fatal(err)
		}
	}
	write("bin/systemctl", `#!/bin/sh
case "$1 $2" in
"is-active -q") [ -e "ROOT/runs/$3" ] ;;
"show -p") case "$5" in *etcd*) echo 42 ;; *) echo 7 ;; esac ;;
"enable -q" | "reset-failed "*) ;;
"disable -q") echo "disable $3" >>ROOT/calls ;;
*)
    echo "$1 $2" >>ROOT/calls
    rm -f "ROOT/runs/$2"
    [ "$1" = stop ] || : >"ROOT/runs/$2"
    if [ "$1" = restart ]; then
        version=$(basename "$(readlink ROOT/opt/pai/role/etcd-a)")
        ln -sfn "ROOT/opt/pai/$version/bin/etcd" ROOT/proc/42/exe
    fi ;;
esac
`)
	write("bin/helper", `#!/bin/sh
echo "$1" >>ROOT/calls
case $1 in
etcd-can-stop)
    n=$(grep -c etcd-can-stop ROOT/calls)
    [ ! -e ROOT/never ] && { [ ! -e ROOT/first-only ] || [ "$n" = 1 ]; } && { [ ! -e ROOT/later ] || [ "$n" != 2 ]; } ;;
etcd-serves) case $(readlink ROOT/proc/42/exe) in */broken/*) false ;; esac ;;
etcd-move-leader) [ ! -e ROOT/no-leader ] ;;
esac
`)
	for _, version := range []string{"old", "new", "broken"} {
		write("opt/pai/"+version+"/run/etcd-a", "")
	}
	for _, dir := range []string{"proc/42", "opt/pai/role", "var/lib/pai", "runs"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../old", root+"/opt/pai/role/etcd-a"); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		write(file, "")
	}
	script, err := servingScript(name)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/var/lib/pai", root+"/var/lib/pai", "/opt/pai", root+"/opt/pai", "/proc/", root+"/proc/", "150", "3", "sleep 0.2", "sleep 0.01", "sleep 0.5", "sleep 0.01",
		`kill -TERM "$pid"`, `echo "TERM $pid" >>`+root+`/calls`).Replace(string(script))
	cmd := exec.CommandContext(t.Context(), "sh", append(append([]string{"-c", here, name, "a"}, args...), root+"/bin/helper")...)
	cmd.Env = []string{"PATH=" + root + "/bin:/usr/bin:/bin"}
	err = cmd.Run()
	log, _ := os.ReadFile(root + "/calls")
	calls = strings.ReplaceAll(strings.TrimSpace(string(log)), "\n", ", ")
	if calls != "" {
		t.Logf("%v: %s", files, calls)
	}
	link, _ = os.Readlink(root + "/opt/pai/role/etcd-a")
	return calls, filepath.Base(link), err == nil
}

const (
	apiServerA    = "runs/pai-apiserver-a.service"
	etcdA         = "runs/pai-etcd-a.service"
	stopAPIServer = "TERM 7, stop pai-apiserver-a.service"
	startA        = "start pai-apiserver-a.service"
	restartEtcdA  = "restart pai-etcd-a.service"
)

func TestReplaceEtcdScript(t *testing.T) {
	t.Parallel()
	calls := func(list ...string) string { return strings.Join(list, ", ") }
	for name, c := range map[string]struct {
		files []string
		calls string
		link  string
		ok    bool
	}{
		"all is well": {[]string{apiServerA, etcdA},
			calls("etcd-can-stop", stopAPIServer, "etcd-move-leader", "etcd-can-stop", restartEtcdA, "etcd-serves", startA), "new", true},
		"no API server runs": {[]string{etcdA}, calls("etcd-can-stop", "etcd-move-leader", "etcd-can-stop", restartEtcdA, "etcd-serves"), "new", true},
		"etcd does not run":  {[]string{apiServerA}, calls(stopAPIServer, restartEtcdA, "etcd-serves", startA), "new", true},
		"the others have no quorum": {[]string{apiServerA, etcdA, "never"},
			calls("etcd-can-stop", "etcd-can-stop", "etcd-can-stop", "etcd-can-stop", "etcd-can-stop"), "old", false},
		"they lose it while the API server stops": {[]string{apiServerA, etcdA, "first-only"},
			calls("etcd-can-stop", stopAPIServer, "etcd-move-leader", "etcd-can-stop", "etcd-can-stop", "etcd-can-stop", "etcd-can-stop", "etcd-can-stop", startA), "old", false},
		"they learn the new leader a moment later": {[]string{apiServerA, etcdA, "later"},
			calls("etcd-can-stop", stopAPIServer, "etcd-move-leader", "etcd-can-stop", "etcd-can-stop", restartEtcdA, "etcd-serves", startA), "new", true},
		"the leadership stays": {[]string{apiServerA, etcdA, "no-leader"},
			calls("etcd-can-stop", stopAPIServer, "etcd-move-leader", "etcd-can-stop", restartEtcdA, "etcd-serves", startA), "new", true},
		"the new etcd does not serve": {[]string{apiServerA, etcdA, "broken"},
			calls("etcd-can-stop", stopAPIServer, "etcd-move-leader", "etcd-can-stop", restartEtcdA, "etcd-serves", "etcd-serves", "etcd-serves", "etcd-serves",
				restartEtcdA, "etcd-serves", startA), "old", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, link, ok := replaceEtcd(t, c.files...)
			if got != c.calls || link != c.link || ok != c.ok {
				t.Errorf("got\n%s, link %s, succeeded %v; want\n%s, link %s, succeeded %v", got, link, ok, c.calls, c.link, c.ok)
			}
		})
	}
}
