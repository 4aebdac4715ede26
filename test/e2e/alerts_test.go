//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/test/alerts"
)

// absent are the metrics that a healthy cluster of the tests lacks, with the reason.
var absent = map[string]string{
	"alertmanager_notifications_failed_total":       "only with alert-manager",
	"apiserver_admission_webhook_rejection_count":   "begins with the first refusal",
	"apiserver_audit_error_total":                   "begins with the first failure",
	"apiserver_flowcontrol_rejected_requests_total": "begins with the first refusal",
	"apiserver_storage_decode_errors_total":         "begins with the first failure",
	"etcd_request_errors_total":                     "begins with the first failure",
	"kube_pod_deletion_timestamp":                   "only while a pod ends",
	"kube_pod_status_unschedulable":                 "only while a pod waits for a machine",
	"kubelet_evictions":                             "begins with the first eviction",
	"kubelet_run_podsandbox_errors_total":           "begins with the first failure",
	"kueue_evicted_workloads_total":                 "begins with the first eviction",
	"node_edac_uncorrectable_errors_total":          "only with memory that corrects errors",
	"node_md_disks":                                 "only with a software array",
	"node_md_disks_required":                        "only with a software array",
	"pai_backup_interval_seconds":                   "only with kubernetes.backup",
	"pai_backup_last_failure_timestamp_seconds":     "only with kubernetes.backup",
	"pai_backup_last_success_timestamp_seconds":     "only with kubernetes.backup",
	"pai_gpu_driver_up":                             "only with a GPU",
	"pai_gpu_ecc_uncorrected_errors_total":          "only with a GPU",
	"pai_gpu_healthy":                               "only with a GPU",
	"pai_gpu_holders_known":                         "only with a GPU",
	"pai_gpu_nvlinks_active":                        "only with a GPU",
	"pai_gpu_temperature_celsius":                   "only with a GPU",
	"pai_operation_window_end_timestamp_seconds":    "only while an operation changes something, with alert-manager",
	"pai_rest_history_recorded_timestamp_seconds":   "only with a history",
}

// hosts are the alerts that the host of the tests can cause, with the reason.
var hosts = map[string]string{
	"APIServerSlow":  "the host is slow",
	"DiskAlmostFull": "machines have the disk of the host",
	"DiskFillsSoon":  "machines have the disk of the host",
	"DiskLow":        "machines have the disk of the host",
	"EtcdSlow":       "the host is slow",
	"InodesLow":      "machines have the disk of the host",
	"KubeletSlow":    "the host is slow",
}

// metricsPassword is a script that sets PASSWORD to that of a login to metrics. The password
// stays on the machine.
func metricsPassword(user string) string {
	return "PASSWORD=$(KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl -n pai-system get secret metrics-login -o jsonpath={.data." +
		user + "-password} | base64 -d); "
}

// askPrometheus reads the data of an answer of Prometheus. An error is what was seen instead.
func (o *operator) askPrometheus(into any, path, query string) error {
	o.t.Helper()
	machine := strings.TrimSpace(o.kubectl("get nodes pai-1 -o jsonpath={.status.addresses[0].address}"))
	out := o.on("pai-1", metricsPassword("reader")+"curl -s -m 20 -u reader:$PASSWORD --get --data-urlencode 'query="+query+"' http://"+machine+":9091/api/v1/"+path+" || true")
	var answer struct {
		Status string
		Data   json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Status != "success" {
		return fmt.Errorf("got %q from Prometheus: %w", out, err)
	}
	return json.Unmarshal(answer.Data, into)
}

// labelsOf returns the values that a label has in the answer to a query.
func (o *operator) labelsOf(label, query string) ([]string, error) {
	o.t.Helper()
	var data struct {
		Result []struct{ Metric map[string]string }
	}
	if err := o.askPrometheus(&data, "query", query); err != nil {
		return nil, err
	}
	var values []string
	for _, r := range data.Result {
		values = append(values, r.Metric[label])
	}
	slices.Sort(values)
	return values, nil
}

// rulesWork wants that Prometheus evaluates each rule, and that what the rules read is there.
func (o *operator) rulesWork() {
	var metrics []string
	o.eventually(4*time.Minute, "Prometheus evaluates each rule", func() (bool, string) {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Query, Health, LastError string }
			}
		}
		if err := o.askPrometheus(&data, "rules", ""); err != nil {
			return false, err.Error()
		}
		rules := 0
		metrics = nil
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if rules++; r.Health != "ok" || r.LastError != "" {
					return false, fmt.Sprintf("%s is %s: %s", r.Name, r.Health, r.LastError)
				}
				metrics = append(metrics, alerts.Names(r.Query)...)
			}
		}
		return rules > 40, fmt.Sprintf("%d rules", rules)
	})
	slices.Sort(metrics)
	metrics = slices.Compact(metrics)
	for name := range maps.Keys(absent) {
		if !slices.Contains(metrics, name) {
			o.t.Errorf("no rule reads %s, which can be absent", name)
		}
	}
	o.eventually(4*time.Minute, "Prometheus has what the rules read", func() (bool, string) {
		found, err := o.labelsOf("__name__", `count by (__name__) (last_over_time({__name__=~"`+strings.Join(metrics, "|")+`"}[5m]))`)
		missing := slices.DeleteFunc(slices.Clone(metrics), func(name string) bool {
			return slices.Contains(found, name) || absent[name] != ""
		})
		return err == nil && len(missing) == 0, fmt.Sprintf("missing: %v, %v", missing, err)
	})
}

// noAlert wants that nothing alerted within the last hour.
func (o *operator) noAlert() {
	var names []string
	o.eventually(2*time.Minute, "Prometheus says which alerts occurred", func() (bool, string) {
		var err error
		names, err = o.labelsOf("alertname", `count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))`)
		return err == nil, fmt.Sprint(err)
	})
	for _, name := range names {
		if hosts[name] == "" {
			o.t.Errorf("the alert %s occurred in a healthy cluster", name)
		} else {
			o.t.Logf("the alert %s occurred: %s", name, hosts[name])
		}
	}
}
