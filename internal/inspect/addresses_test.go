package inspect_test

import (
	"slices"
	"testing"

	"pai.dev/pai/internal/inspect"
)

const routes = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.9.0.0/24 2 0 2
        |-- 10.9.0.0
           /24 link UNICAST
        |-- 10.9.0.12
           /32 host LOCAL
        |-- 10.9.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/31 1 0 0
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
Local:
  +-- 10.9.0.0/24 2 0 2
        |-- 10.9.0.12
           /32 host LOCAL
`

func TestAddresses(t *testing.T) {
	t.Parallel()
	r := booted(t)
	r.Write("/proc/net/fib_trie", routes)
	ask := func() inspect.Report {
		return r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}}, "p")
	}
	report := ask()
	if report.Condition == nil || !slices.Equal(report.Condition.Addresses, []string{"10.9.0.12", "127.0.0.1"}) {
		t.Errorf("got %+v, %v", report.Condition, report.Problems)
	}
	r.Write("/proc/net/fib_trie", "")
	if report := ask(); report.Condition != nil || report.Problem(inspect.ConditionOf) == "" {
		t.Errorf("got %+v without an address, want a problem", report.Condition)
	}
}
