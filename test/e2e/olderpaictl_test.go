//go:build e2e

package e2e

import (
	"context"
	"strings"
	"time"
)

// olderPaictlRefuses wants every command of the older paictl that changes a cluster to
// fail on the upgraded one, and to change nothing.
func (s *upgradeStory) olderPaictlRefuses() {
	previous := *s.operator
	previous.program = s.older
	before := s.recorded()
	refused := 0
	for _, command := range []string{
		"service refresh", "service start", "service stop prometheus", "service delete prometheus",
		"cluster k8s-bootup", "cluster k8s-clean --accept-risk=evict-jobs:pai-1",
		"upgrade apply --to " + older, "upgrade stage --to " + older, "upgrade rollback",
		"config push --over 1", "config rollback 1",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		out, err := previous.try(ctx, nil, append(strings.Fields(command), "--yes")...)
		cancel()
		if err == nil {
			// It found nothing to do, and nothing was changed, as is checked below.
			s.t.Logf("paictl %s of %s ended with success:\n%s", command, older, out)
			continue
		}
		if strings.Contains(err.Error(), "this cluster needs paictl "+newer+" or newer") {
			refused++
		} else {
			s.t.Logf("%v", err)
		}
	}
	if refused == 0 {
		s.t.Error("no command said which paictl the cluster needs")
	}
	if after := s.recorded(); after != before {
		s.t.Errorf("the older paictl changed the cluster: got\n%s\nwant\n%s", after, before)
	}
	s.wantContainers(s.containers)
}

// olderPaictlAfterRollback reads the lock with the older paictl: it is refused while
// a role of the machine is newer.
func (s *upgradeStory) olderPaictlAfterRollback() {
	previous := *s.operator
	previous.program = s.older
	left := strings.Contains(s.on("pai-1", "readlink /opt/pai/role/*"), newerKubernetes)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := previous.try(ctx, nil, "upgrade", "status")
	if refused := err != nil && strings.Contains(err.Error(), "this cluster needs paictl "+newer+" or newer"); refused != left || err != nil && !refused {
		s.t.Errorf("the older paictl ended with %v, and a newer role is left: %t\n%s", err, left, out)
	}
}

// recorded is what operations write: the lock, the journal, the revisions, the links
// of roles, and the applied objects.
func (s *upgradeStory) recorded() string {
	s.t.Helper()
	return s.on("pai-1", "cd /var/lib/pai && sha256sum lock/* operations/* revisions/* && ls -l /opt/pai/role | grep -o ' [a-z-]* -> .*'") +
		s.kubectl(`get deployments,daemonsets,configmaps -A -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.metadata.generation}{"\n"}{end}'`)
}
