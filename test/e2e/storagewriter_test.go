//go:build e2e

package e2e

import (
	"strconv"
	"strings"
	"time"
)

// writes gives an upgraded cluster the storage that `paictl up` brings, and a job that writes to it
// until the end.
func (s *historyStory) writes() {
	s.wantContainers(s.containers)
	s.on("pai-1", "mkdir -p -m 700 /srv/pai && mkdir -p -m 777 /srv/pai/default")
	s.editServices(`\z`, "\nstorages:\n  default: {type: directory, path: /srv/pai/default, per-user: true, default: true, groups: [default]}\n")
	s.run(5*time.Minute, "service", "start", "rest-server", "--yes")
	s.run(time.Minute, "storage", "check")
	s.submit("test/e2e/testdata/writes.yaml", len(s.containers)+1)
	s.containers = s.jobContainers()
	s.grows()
}

// stillWrites wants the job to write, after the services were rolled back and upgraded again.
func (s *historyStory) stillWrites() {
	if len(s.containersOf("writes")) != 1 {
		s.t.Fatalf("the job has failed:\n%s", s.run(time.Minute, "job", "show", "writes"))
	}
	s.grows()
}

// grows waits until the job has written twice more.
func (s *historyStory) grows() {
	s.t.Helper()
	first := s.number()
	s.eventually(time.Minute, "the job writes", func() (bool, string) {
		now := s.number()
		return now >= first+2, strconv.Itoa(now)
	})
}

// number is what the job wrote last; 0 for nothing.
func (s *historyStory) number() int {
	s.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s.on("pai-1", "cat /srv/pai/default/admin/number 2>/dev/null || echo 0")))
	if err != nil {
		s.t.Fatalf("the job wrote no number: %v", err)
	}
	return n
}
