package check

import (
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A service that is not ready is started alone only if all have the release of the
// configuration: service start refuses it otherwise.
func TestFixOfAServiceCanBeRun(t *testing.T) {
	t.Parallel()
	for oldest, want := range map[pai.ServicesVersion]string{"v0.9": "paictl service start", "v0.10": "paictl service start kueue"} {
		in := unobservable()
		in.Config.Services.Cluster.Common.Release = "v0.10"
		in.Releases, in.World = twoReleases(), plan.World{Current: pai.Pair{Services: oldest}}
		if got := (&world{Input: in}).startAgain("kueue"); got != want {
			t.Errorf("services of %s, configuration of v0.10: got %q, want %q", oldest, got, want)
		}
	}
}
