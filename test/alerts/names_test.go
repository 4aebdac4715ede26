package alerts

import (
	"reflect"
	"testing"
)

// Names leaves out labels, functions, and numbers.
func TestNamesOfMetrics(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]string{
		`up{job!~"node-exporter|kubernetes-.*"} == 0`:                                                           {"up"},
		`sum by (machine) (rate(a_total{code=~"5..",x="{}"}[10m])) / sum(rate(b_total[10m])) > 0.05`:            {"a_total", "b_total"},
		`(time() - a > 1800) * on (namespace, pod) group_left (node) max by (node) (b)`:                         {"a", "b"},
		`(count by (m) (c) or max by (m) (d == 1) * 0) < max_over_time(count by (m) (c)[1d:10m])`:               {"c", "d"},
		`(e > 0.7 * 8 * 2 ^ 30) unless on (m) label_replace(f == 0, "m", "$1", "node", "(.*)") and g offset 5h`: {"e", "f", "g"},
	} {
		if got := Names(expr); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", expr, got, want)
		}
	}
}
