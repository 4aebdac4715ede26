//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
)

// container is what identifies a running container of a job. If any of it
// changes, the container is not the one it was.
type container struct {
	Job, Pod, UID, Machine, Container, ID, Started string
	Restarts                                       int
}

// kubectl runs the cluster's own kubectl on the control-plane machine.
func (o *operator) kubectl(args string) string {
	o.t.Helper()
	return o.on("pai-1", kubectl+args)
}

// kubectl is the program on the control-plane machine; its arguments follow.
const kubectl = "KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/controller-manager/bin/kubectl "

// jobContainers reads the containers of all jobs from the API, not through
// paictl: the test must not rely on what it tests.
func (o *operator) jobContainers() []container {
	o.t.Helper()
	var pods struct {
		Items []struct {
			Metadata struct {
				Name, UID   string
				Annotations map[string]string
			}
			Spec   struct{ NodeName string }
			Status struct {
				ContainerStatuses []struct {
					Name, ContainerID string
					RestartCount      int
					State             struct {
						Running *struct{ StartedAt string }
					}
				}
			}
		}
	}
	out := o.kubectl("get pods -A -l pai.dev/job -o json")
	if err := json.Unmarshal([]byte(out), &pods); err != nil {
		o.t.Fatalf("read pods: %v\n%s", err, out)
	}
	var found []container
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running == nil {
				continue
			}
			found = append(found, container{
				Job: p.Metadata.Annotations["pai.dev/job-name"], Pod: p.Metadata.Name, UID: p.Metadata.UID, Machine: p.Spec.NodeName,
				Container: c.Name, ID: c.ContainerID,
				Started: c.State.Running.StartedAt, Restarts: c.RestartCount,
			})
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Pod+found[i].Container < found[j].Pod+found[j].Container })
	return found
}

// wantContainers wants the containers of all jobs to be those that they were.
func (o *operator) wantContainers(before []container) {
	o.t.Helper()
	if now := o.jobContainers(); !reflect.DeepEqual(before, now) {
		o.t.Errorf("the containers of the jobs changed:\ngot  %+v\nwant %+v", now, before)
	}
}

// wantContainersOf is wantContainers for one job.
func (o *operator) wantContainersOf(job string, before []container) {
	o.t.Helper()
	if now := o.containersOf(job); !reflect.DeepEqual(before, now) {
		o.t.Errorf("the containers of job %s changed:\ngot  %+v\nwant %+v", job, now, before)
	}
}

// containersOf is jobContainers of one job.
func (o *operator) containersOf(job string) []container {
	o.t.Helper()
	return slices.DeleteFunc(o.jobContainers(), func(c container) bool { return c.Job != job })
}

// submit starts a job and waits until it runs with as many containers as asked for.
func (o *operator) submit(file string, containers int) {
	o.t.Helper()
	o.run(time.Minute, "job", "submit", file)
	o.eventually(2*time.Minute, "the job's containers run", func() (bool, string) {
		found := o.jobContainers()
		if len(found) == containers {
			return true, ""
		}
		why, err := o.tryKubectl("get pods,workloads -A")
		return false, fmt.Sprintf("%v\n%s (error %v)", found, why, err)
	})
}

// runningJobs counts the jobs that PAI says are running.
func (o *operator) runningJobs() int {
	o.t.Helper()
	var jobs []struct{ State string }
	o.json(&jobs, "job", "list")
	n := 0
	for _, j := range jobs {
		if strings.EqualFold(j.State, "running") {
			n++
		}
	}
	return n
}

// operation is one entry of `paictl upgrade history -o json`, as the
// documentation gives it.
type operation struct {
	ID       string
	From, To struct{ Services, Kubernetes string }
	Outcome  string
	Jobs     struct {
		Before, After, Finished      int
		Failed, Interrupted, Unknown []struct{ Job, Pod, Container, Machine, Step, Cause string }
	}
	API struct {
		OutageSeconds, LongestGapSeconds float64
		Kept                             struct{ OutageSeconds, LongestGapSeconds float64 }
	}
	UnobservedSeconds            float64
	AcceptedRisks, SkippedChecks []string
	Steps                        []struct {
		ID, Outcome string
		Seconds     float64
	}
}

func (o *operator) lastOperation() operation {
	o.t.Helper()
	var all []operation
	o.json(&all, "upgrade", "history")
	if len(all) == 0 {
		o.t.Fatal("upgrade history is empty")
	}
	last := all[len(all)-1]
	last.Jobs.Interrupted = append(last.Jobs.Interrupted, last.Jobs.Unknown...) // an unknown end counts as one
	return last
}
