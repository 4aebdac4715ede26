//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHistory upgrades a cluster with a job that has ended to a release with a history of
// jobs. Jobs whose objects are deleted stay in lists and details with their states and
// times: after their name was used again, after the REST servers were killed, after the
// directory of the history was lost and came back, and after the services were rolled back
// and upgraded again. A training job does not notice, nor does a job that writes to a storage and
// verifies what it wrote, and no request of a client fails.
func TestHistory(t *testing.T) {
	inTestAll(t, "ten minutes or more on another cluster")
	s := &historyStory{operator: newOperator(t, "history"), kept: map[string]endedJob{}}
	for _, chapter := range []struct {
		name      string
		run       func(*historyStory)
		essential bool // no later chapter makes sense after its failure
	}{
		{"boot the older release, and a job ends", (*historyStory).boot, true},
		{"an upgrade with a history, and a job ends", (*historyStory).upgrade, true},
		{"a job writes to a storage", (*historyStory).writes, false},
		{"a job whose objects are deleted stays", (*historyStory).deleted, false},
		{"its name is used again", (*historyStory).nameUsedAgain, false},
		{"the servers are killed", (*historyStory).serversKilled, false},
		{"the directory is lost, and comes back", (*historyStory).directoryLost, false},
		{"the services are rolled back", (*historyStory).rolledBack, false},
		{"and upgraded again", (*historyStory).upgradedAgain, false},
		{"the job wrote to its storage all the time", (*historyStory).stillWrites, false},
		{"the training job did not notice", func(s *historyStory) { s.wantContainers(s.containers) }, false},
		{"no request of the client failed", func(s *historyStory) { s.stopClient(s.t) }, false},
	} {
		ok := s.part(chapter.name, func(o *operator) {
			outer := s.operator
			s.operator = o
			defer func() { s.operator = outer }()
			chapter.run(s)
		})
		if !ok && chapter.essential {
			t.FailNow()
		}
	}
}

// historyStory is one cluster, and what its chapters keep for later ones.
type historyStory struct {
	*operator
	containers []container         // of the training job
	kept       map[string]endedJob // by UID: what every later list has
	stopClient func(*testing.T)
}

// endedJob is a job as the REST server lists and shows it.
type endedJob struct {
	User, Name, VirtualCluster, State, Message string
	Created, Started, Ended                    time.Time
	Retries                                    int
	Namespace, Object, UID                     string
}

const (
	historyDirectory = "/var/lib/pai/rest-server"
	// awayMessage is what users read while the history is not available.
	awayMessage = "the history is not available"
)

func (s *historyStory) boot() {
	s.bootFrozen(older)
	s.submit("examples/train.yaml", 2)
	s.containers = s.jobContainers()
	s.ends("before")
}

func (s *historyStory) upgrade() {
	s.editServices(`(?m)^rest-server:\n`, "rest-server:\n  history-database: sqlite\n")
	s.stopClient = s.startClient()
	s.run(10*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
	s.keep("before")
	s.ends("after")
	s.keep("after")
	if got := strings.TrimSpace(s.on("pai-1", "stat -c '%u %a' "+historyDirectory+"/history.db")); got != "65532 600" {
		s.t.Errorf("owner and mode of the history: got %s, want 65532 600", got)
	}
}

func (s *historyStory) deleted() {
	job := s.show("before")
	const text = "/api/v2/jobs/admin~before/config"
	_, submitted := s.ask(text)
	s.delete(job)
	s.wantKept()
	if now := s.show("before"); now != job {
		s.t.Errorf("its detail: got %+v, want %+v", now, job)
	}
	if status, now := s.ask(text); status != http.StatusOK || now != submitted {
		s.t.Errorf("what it was submitted as: status %d, got\n%s\nwant\n%s", status, now, submitted)
	}
	if status, now := s.ask("/rest-server/api/v2/jobs/admin~before"); status != http.StatusOK || !strings.Contains(now, `"SUCCEEDED"`) {
		s.t.Errorf("its detail for clients of OpenPAI: status %d\n%s", status, now)
	}
	if status, now := s.ask("/api/v2/jobs/admin~before/logs"); status != http.StatusNotFound || !strings.Contains(now, "has left the cluster, and its output with it") {
		s.t.Errorf("its output: status %d, want 404 and the reason\n%s", status, now)
	}
}

// nameUsedAgain wants the newest job to have the name, and lists to have both.
func (s *historyStory) nameUsedAgain() {
	first := s.show("before")
	s.ends("before")
	s.keep("before")
	if second := s.show("before"); second.UID == first.UID {
		s.t.Errorf("the name has the older job: %+v", second)
	}
	s.wantKept()
}

// serversKilled kills both servers right after a job ended. Connections to them break, so
// the client that never retries starts again when they are back.
func (s *historyStory) serversKilled() {
	s.ends("killed")
	s.stopClient(s.t)
	before := s.servers()
	const processes = "-f '^/rest-server --listen='" // another one has the output of tasks
	if killed := strings.Fields(s.on("pai-1", "pgrep "+processes+"; pkill -9 "+processes)); len(killed) != 2 {
		s.t.Errorf("got processes %v, want those of two servers", killed)
	}
	s.eventually(3*time.Minute, "both servers were started again", func() (bool, string) {
		now := s.servers()
		for pod, restarts := range now {
			if restarts == before[pod] {
				return false, pod + " was not started again"
			}
		}
		_, err := s.trySoon("job", "list")
		return len(now) == 2 && err == nil, "some are not ready"
	})
	s.stopClient = s.startClient()
	s.wantKept()
	s.keep("killed")
	s.delete(s.show("killed"))
	s.wantKept()
}

// directoryLost moves the directory of the history away, and back. A pod sees what was
// there when it started, so all are replaced, one at a time.
func (s *historyStory) directoryLost() {
	const aside = historyDirectory + ".aside"
	s.on("pai-1", "mv "+historyDirectory+" "+aside)
	s.replaceServers()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := s.command(ctx, "job", "list").CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "the list is not complete: "+awayMessage) || !strings.Contains(text, "~train") {
		s.t.Errorf("a list without the history does not report it, or has no job that runs: %v\n%s", err, text)
	}
	if _, incomplete := s.count(); !incomplete {
		s.t.Error("a list for clients of OpenPAI does not say that it is incomplete")
	}
	if status, text := s.ask("/api/v2/jobs/admin~killed"); status != http.StatusServiceUnavailable || !strings.Contains(text, awayMessage) || strings.Contains(text, "history.db") {
		s.t.Errorf("a job that left the cluster: status %d, want 503, and the reason without the name of a file\n%s", status, text)
	}
	if logs := s.kubectl("-n pai-system logs -l app.kubernetes.io/name=rest-server --tail=200"); strings.Count(logs, awayMessage+"; jobs are not affected") < 2 {
		s.t.Errorf("the servers do not log it:\n%s", logs)
	}
	s.ends("meanwhile")
	s.on("pai-1", "rm -rf "+historyDirectory+" && mv "+aside+" "+historyDirectory)
	s.replaceServers()
	s.complete()
	s.wantKept()
	s.keep("meanwhile")
}

// rolledBack wants the older release to leave the history as it is. A job that is recorded
// leaves the cluster, and another one ends.
func (s *historyStory) rolledBack() {
	after := s.show("after")
	s.run(10*time.Minute, "upgrade", "rollback", "--services", "--yes")
	s.eventually(2*time.Minute, "the newer servers have ended", func() (bool, string) {
		out := s.kubectl("-n pai-system get pods -l app.kubernetes.io/name=rest-server -o jsonpath={.items[*].spec.containers[*].image}")
		return strings.Contains(out, older) && !strings.Contains(out, newer), out
	})
	const sum = "cd " + historyDirectory + " && sha256sum history.db"
	before := s.on("pai-1", sum)
	s.ends("between")
	s.delete(after)
	if _, now := s.ask("/api/v2/jobs"); strings.Contains(now, `"after"`) || !strings.Contains(now, `"between"`) {
		s.t.Errorf("the older release lists a job that left the cluster, or not all others:\n%s", now)
	}
	if now := s.on("pai-1", sum); now != before {
		s.t.Errorf("the older release changed the history: got %s, want %s", now, before)
	}
}

func (s *historyStory) upgradedAgain() {
	s.run(10*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
	s.complete()
	s.wantKept()
	s.keep("between")
	s.delete(s.show("between"))
	s.wantKept()
}

// ends submits a job that ends at once, and waits for its end.
func (s *historyStory) ends(name string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(repository(), "test/e2e/testdata/brief.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), "name: brief", "name: "+name, 1)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run(time.Minute, "job", "submit", file)
	s.hasState(name, "SUCCEEDED")
}

// keep waits until a job is recorded. From then on, every list must have it. What a server
// recorded is visible only after the job left the cluster, so the file is searched for the
// first columns of the job, which are beside each other there.
func (s *historyStory) keep(name string) {
	s.t.Helper()
	job := s.show(name)
	if job.State != "SUCCEEDED" || job.Started.IsZero() || job.Ended.IsZero() || job.UID == "" {
		s.t.Fatalf("job %s has not ended well: %+v", name, job)
	}
	s.eventually(2*time.Minute, "job "+name+" is recorded", func() (bool, string) {
		out := s.on("pai-1", "cat "+historyDirectory+"/history.db* | grep -a -c '"+job.UID+job.User+job.Name+job.VirtualCluster+job.State+"' || true")
		return strings.TrimSpace(out) != "0", out
	})
	s.kept[job.UID] = job
}

// wantKept wants a list to have all kept jobs as they were, and no others than those in
// the cluster.
func (s *historyStory) wantKept() {
	s.t.Helper()
	now := s.list()
	for uid, job := range s.kept {
		if now[uid] != job {
			s.t.Errorf("in the list: got %+v, want %+v", now[uid], job)
		}
	}
	inCluster := strings.Fields(s.kubectl("get jobsets -A -o jsonpath={.items[*].metadata.uid}"))
	want := len(s.kept)
	for _, uid := range inCluster {
		if _, kept := s.kept[uid]; !kept {
			want++
		}
	}
	if total, incomplete := s.count(); len(now) != want || total != want || incomplete {
		s.t.Errorf("got %d jobs, and %d for clients of OpenPAI (incomplete: %t), want %d", len(now), total, incomplete, want)
	}
}

// complete waits until the history is available.
func (s *historyStory) complete() {
	s.t.Helper()
	s.eventually(time.Minute, "the history is available", func() (bool, string) {
		for range 6 { // each time, one of two servers answers
			if _, incomplete := s.count(); incomplete {
				return false, "lists are incomplete"
			}
		}
		return true, ""
	})
}

// delete deletes the objects of a job, as a user of kubectl would.
func (s *historyStory) delete(job endedJob) {
	s.t.Helper()
	s.kubectl("-n " + job.Namespace + " delete jobset " + job.Object)
	s.eventually(time.Minute, "the pods of job "+job.Name+" are deleted", func() (bool, string) {
		out := s.kubectl("-n " + job.Namespace + " get pods -l pai.dev/job=" + job.Object + " -o name")
		return strings.TrimSpace(out) == "", out
	})
}

func (s *historyStory) list() map[string]endedJob {
	s.t.Helper()
	status, text := s.ask("/api/v2/jobs")
	var jobs []endedJob
	if err := json.Unmarshal([]byte(text), &jobs); status != http.StatusOK || err != nil {
		s.t.Fatalf("list the jobs: status %d, error %v\n%s", status, err, text)
	}
	byUID := map[string]endedJob{}
	for _, job := range jobs {
		byUID[job.UID] = job
	}
	return byUID
}

func (s *historyStory) show(name string) (job endedJob) {
	s.t.Helper()
	status, text := s.ask("/api/v2/jobs/admin~" + name)
	if err := json.Unmarshal([]byte(text), &job); status != http.StatusOK || err != nil {
		s.t.Fatalf("show job %s: status %d, error %v\n%s", name, status, err, text)
	}
	return job
}

// count is how many jobs clients of OpenPAI see.
func (s *historyStory) count() (total int, incomplete bool) {
	s.t.Helper()
	status, text := s.ask("/rest-server/api/v2/jobs?withTotalCount=true")
	var page struct {
		TotalCount int
		Incomplete bool
	}
	if err := json.Unmarshal([]byte(text), &page); status != http.StatusOK || err != nil {
		s.t.Fatalf("count the jobs: status %d, error %v\n%s", status, err, text)
	}
	return page.TotalCount, page.Incomplete
}

// ask reads something from the REST server as the administrator.
func (s *historyStory) ask(path string) (status int, answer string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.state, "clusters", "local", "rest.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var access struct{ Token string }
	if err := json.Unmarshal(data, &access); err != nil || access.Token == "" {
		s.t.Fatalf("the access to the REST server has no token (error %v)", err)
	}
	status, text := s.askREST(http.MethodGet, path, access.Token, nil)
	return status, string(text)
}

// servers are how often the REST servers that are ready were restarted, by pod.
func (s *historyStory) servers() map[string]string {
	s.t.Helper()
	out := s.kubectl(`-n pai-system get pods -l app.kubernetes.io/name=rest-server -o jsonpath='{range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}{"\n"}{end}'`)
	ready := map[string]string{}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 3 && f[2] == "true" {
			ready[f[0]] = f[1]
		}
	}
	return ready
}

// replaceServers deletes one pod of the REST server after the other. No request fails: a
// pod that is deleted answers until no client uses it.
func (s *historyStory) replaceServers() {
	s.t.Helper()
	for pod := range s.servers() {
		s.kubectl("-n pai-system delete pod --wait=false " + pod)
		s.eventually(3*time.Minute, "another server replaced "+pod, func() (bool, string) {
			out := s.kubectl("-n pai-system get pods -l app.kubernetes.io/name=rest-server -o name")
			return !strings.Contains(out, pod) && len(s.servers()) == 2, out
		})
	}
}
