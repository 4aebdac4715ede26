package rest

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const (
	// maxReason is how much of the words of Kueue a message has, in bytes.
	maxReason = 500
	// maxHolders is how many jobs a message names.
	maxHolders = 3
)

// whyQueued is why Kueue does not admit a job: what is missing, who holds it, and when that can
// change; empty if Kueue gave no reason.
func (c *Core) whyQueued(ctx context.Context, obj *unstructured.Unstructured) string {
	all, err := c.workloadsOf(ctx, obj)
	if err != nil {
		return "" // the state of the job is known without it
	}
	for _, w := range all {
		if quota, err := quotaOf(w); err == nil && quota.Message != "" {
			return "in the queue" + forKinds(job.KindsOf(obj)) + ": " + c.quotaReason(ctx, obj, quota.Message)
		}
	}
	return ""
}

// quotaReason says what Kueue reports about a job. What is not about quota stays in its words.
func (c *Core) quotaReason(ctx context.Context, obj *unstructured.Unstructured, message string) string {
	if over := overQuota(message); over != "" {
		return over
	}
	missing := missingQuota(message)
	if len(missing) == 0 {
		return job.Clean(message, maxReason)
	}
	var lacks []string
	for _, m := range missing {
		lacks = append(lacks, m.String())
	}
	caller, _ := callerOf(ctx) // the zero caller sees no jobs of others
	held := heldOf(missing[0].name, c.holdersIn(ctx, obj.GetLabels()[pai.LabelVirtualCluster]))
	return "it needs " + strings.Join(lacks, " and ") + " more than its virtual cluster has free" + c.whoHolds(caller, held) + c.whatIsLent(ctx, obj, missing[0].name) +
		"; it starts when enough of that is free; a job that asks for less can start earlier" + firstEnd(held, c.now())
}

// whatIsLent is what jobs of other virtual clusters hold of a resource of the virtual
// cluster of a job; empty if they hold nothing, or if that is unknown.
func (c *Core) whatIsLent(ctx context.Context, obj *unstructured.Unstructured, name corev1.ResourceName) string {
	quotas, err := c.quotas(ctx)
	lent := quotas[string(name)].lent(obj.GetLabels()[pai.LabelVirtualCluster])
	if err != nil || lent <= 0 {
		return ""
	}
	quantity := resource.NewQuantity(lent, resource.BinarySI)
	if name == corev1.ResourceCPU {
		quantity = resource.NewMilliQuantity(lent, resource.DecimalSI)
	}
	return "; jobs of other virtual clusters borrow " + amount{name, *quantity}.String() + " of it until they end"
}

// amount is a quantity of a resource that Kueue counts.
type amount struct {
	name     corev1.ResourceName
	quantity resource.Quantity
}

func (a amount) String() string {
	one := a.quantity.Equal(*resource.NewQuantity(1, resource.DecimalSI))
	unit := func(word string) string {
		if one {
			return word
		}
		return word + "s"
	}
	switch a.name {
	case corev1.ResourceCPU:
		return fmt.Sprintf("%g %s", float64(a.quantity.MilliValue())/1000, unit("core"))
	case corev1.ResourceMemory:
		return fmt.Sprintf("%d MiB of memory", mebibytes(a.quantity))
	case corev1.ResourceEphemeralStorage:
		return fmt.Sprintf("%d MiB of disk space", mebibytes(a.quantity))
	case corev1.ResourcePods:
		return fmt.Sprintf("%d %s", a.quantity.Value(), unit("task"))
	case gpuResource:
		return fmt.Sprintf("%d %s", a.quantity.Value(), unit("GPU"))
	default:
		return a.quantity.String() + " " + string(a.name)
	}
}

// mebibytes rounds up: less would not be enough.
func mebibytes(q resource.Quantity) int64 { return (q.Value() + 1<<20 - 1) >> 20 }

var (
	// lacking is how every Kueue of PAI says how much is missing now, and overCapacity that a
	// queue never has enough.
	lacking      = regexp.MustCompile(`insufficient unused quota for (\S+) in flavor \S+, (\S+) more needed`)
	overCapacity = regexp.MustCompile(`insufficient quota for (\S+) in flavor [^,;]+, [^;]*?maximum capacity \((?:[^() ]+ > )?([^() ]+)\)`)
)

// missingQuota is what a job lacks, from the words of Kueue. Each task role counts what the
// roles before it need, so the largest amount is that of the job. GPUs are first: they are
// what jobs wait for.
func missingQuota(message string) (missing []amount) {
	for _, found := range lacking.FindAllStringSubmatch(message, -1) {
		q, err := resource.ParseQuantity(found[2])
		if err != nil {
			continue
		}
		name := corev1.ResourceName(found[1])
		if i := slices.IndexFunc(missing, func(m amount) bool { return m.name == name }); i < 0 {
			missing = append(missing, amount{name, q})
		} else if q.Cmp(missing[i].quantity) > 0 {
			missing[i].quantity = q
		}
	}
	slices.SortFunc(missing, func(a, b amount) int {
		rank := func(m amount) int {
			if m.name == gpuResource {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.name, b.name))
	})
	return missing
}

// overQuota is the sentence about a job that needs more than its queue can ever have; empty if
// it does not.
func overQuota(message string) string {
	found := overCapacity.FindStringSubmatch(message)
	if found == nil {
		return ""
	}
	q, err := resource.ParseQuantity(found[2])
	if err != nil {
		return ""
	}
	return fmt.Sprintf("it cannot start: its virtual cluster has %s in all, and it needs more; submit it with less, or ask an operator for a larger quota", amount{corev1.ResourceName(found[1]), q})
}

// held is a job that holds some of a resource.
type held struct {
	job.Holding
	amount
}

// heldOf are the jobs that hold a resource, the largest first.
func heldOf(name corev1.ResourceName, jobs []job.Holding) []held {
	var all []held
	for _, j := range jobs {
		if q := j.Resources[name]; !q.IsZero() {
			all = append(all, held{j, amount{name, q}})
		}
	}
	slices.SortFunc(all, func(a, b held) int {
		return cmp.Or(b.quantity.Cmp(a.quantity), cmp.Compare(a.JobRef.String(), b.JobRef.String()))
	})
	return all
}

// whoHolds names the jobs that a caller can see, with what they hold if the caller can read
// them, and counts the others.
func (c *Core) whoHolds(caller Caller, jobs []held) string {
	var named []string
	others, sum := 0, amount{}
	for _, h := range jobs {
		id := JobID{h.User, h.Name}
		switch {
		case len(named) == maxHolders || c.policy.Authorize(caller, identity.List, objectOf(id)) != nil:
			others++
			sum.name = h.name
			sum.quantity.Add(h.quantity)
		case c.policy.Authorize(caller, identity.Read, objectOf(id)) != nil:
			named = append(named, id.String())
		default:
			named = append(named, fmt.Sprintf("%s (%s)", id, h.amount))
		}
	}
	if others > 0 {
		what := "%d other jobs (%s)"
		if others == 1 {
			what = "%d other job (%s)"
		}
		named = append(named, fmt.Sprintf(what, others, sum))
	}
	if len(named) == 0 {
		return ""
	}
	last := len(named) - 1
	if last > 0 {
		return "; " + strings.Join(named[:last], ", ") + " and " + named[last] + " hold the rest"
	}
	if others > 1 {
		return "; " + named[0] + " hold the rest"
	}
	return "; " + named[0] + " holds the rest"
}

// firstEnd is when the first of the jobs ends at the latest; empty if no time limit decides.
// It does not say which one.
func firstEnd(jobs []held, now time.Time) string {
	var first time.Time
	for _, h := range jobs {
		if h.Until.After(now) && (first.IsZero() || h.Until.Before(first)) {
			first = h.Until
		}
	}
	if first.IsZero() {
		return ""
	}
	return "; a time limit ends one of these jobs by " + first.UTC().Format("2006-01-02 15:04:05") + " UTC"
}
