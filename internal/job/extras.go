package job

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// extras reads what the protocol leaves to platforms. It returns the checks that need
// the task roles.
func (o object) extras(job *Spec, s *scope, options ParseOptions) (checks []func(*Spec)) {
	extras := o.nested("extras")
	if extras == nil {
		return nil
	}
	for _, name := range extras.names {
		switch name {
		case "submitFrom":
		case "gangAllocation":
			if extras.get(name) != nil && !extras.flag(name) {
				job.Gang = false
				job.effect(extras.child(name), "no task waits for another one; the queue still admits the job as a whole")
			}
		case "hivedScheduler":
			checks = append(checks, extras.hived(job, options)...)
		case pluginField:
			s.plugins = extras.runtimePlugins()
			for _, p := range s.plugins {
				checks = append(checks, p.checkRoles)
			}
		case "timeLimit":
			job.TimeLimit = extras.timeLimit(job)
		case "storages":
			extras.storages(job, options)
		case "jobStatusChangeNotification":
			extras.notification()
		default:
			o.Note(extras.fields[name].Key, extras.child(name), "has no effect here; it is kept with the job")
		}
	}
	return append(checks, func(job *Spec) { extras.setPlugins(job, *s, options) })
}

// priorities are the classes of HiveD, the first ones before the others.
var priorities = []string{"crit", "prod", "test", "oppo"}

// hived reads the part for the HiveD scheduler.
func (o object) hived(job *Spec, options ParseOptions) (checks []func(*Spec)) {
	h := o.nested("hivedScheduler", "jobPriorityClass", "taskRoles")
	if h == nil {
		return nil
	}
	if n := h.get("jobPriorityClass"); n != nil {
		class, ok := h.text(n, h.child("jobPriorityClass"))
		switch {
		case !ok:
		case !slices.Contains(priorities, class):
			h.problemValue("jobPriorityClass", "must be one of %s, not %q", strings.Join(priorities, ", "), yamldoc.Shorten(class))
		default:
			job.Priority = class
			job.effect(h.child("jobPriorityClass"), "the job is %s in the queue of its virtual cluster; it ends no running job, and no job ends it", map[string]string{
				"crit": "before all others", "prod": "before jobs without a class", "test": "among jobs without a class", "oppo": "after all others"}[class])
		}
	}
	roles := h.nested("taskRoles")
	if roles == nil {
		return nil
	}
	for _, name := range roles.names {
		role := roles.nested(name, "skuNum", "skuType", "affinityGroupName", "pinnedCellId")
		if role == nil {
			continue
		}
		if role.get("pinnedCellId") != nil {
			role.problemKey("pinnedCellId", "PAI has no cells: choose a kind of machine with skuType, or leave it out")
		}
		if n := role.get("affinityGroupName"); n != nil {
			job.effect(role.child("affinityGroupName"), "the queue admits all tasks of the job together; their machines can be anywhere")
		}
		kind := role.kind()
		skus := role.integer("skuNum", 0, 1, 1024)
		checks = append(checks, func(job *Spec) {
			i := slices.IndexFunc(job.TaskRoles, func(r TaskRole) bool { return r.Name == name })
			switch {
			case i < 0:
				roles.problemKey(name, "task role %q not found", yamldoc.Shorten(name))
			case skus > 0 && job.TaskRoles[i].GPU%skus != 0:
				role.problemValue("skuNum", "does not fit resourcePerInstance.gpu, which is %d: a task gets what resourcePerInstance says", job.TaskRoles[i].GPU)
			case skus > 0:
				job.effect(role.child("skuNum"), "resourcePerInstance says what a task gets, and the two agree")
			}
			if i >= 0 && kind != "" {
				job.TaskRoles[i].Kind = kind
				role.checkKind(job, job.TaskRoles[i], options)
			}
		})
	}
	return append(checks, func(job *Spec) { roles.checkKinds(job, options) })
}

// timeLimit reads how long a run of the job can take.
func (o object) timeLimit(job *Spec) time.Duration {
	n := o.get("timeLimit")
	if n == nil {
		return 0
	}
	text := n.Value
	if days, ok := strings.CutSuffix(text, "d"); ok && plainDays(days) {
		text = days + "h"
	}
	d, err := time.ParseDuration(text)
	if text != n.Value {
		d *= 24
	}
	if err != nil || n.Kind != yaml.ScalarNode || d < time.Second || d > maxTimeLimit || d%time.Second != 0 {
		o.problemValue("timeLimit", "must be a time from 1s to 366d, such as 90m or 2d, not %s", yamldoc.Describe(n))
		return 0
	}
	job.effect(o.child("timeLimit"), "a run of the job that takes longer than %s fails; the time counts from its admission", d)
	return d
}

// plainDays reports whether a text is a number of at most three digits.
func plainDays(s string) bool {
	return len(s) > 0 && len(s) <= 3 && strings.Trim(s, "0123456789") == ""
}

// notification refuses to send mail, and accepts that none is wanted.
func (o object) notification() {
	n := o.nested("jobStatusChangeNotification")
	if n == nil {
		return
	}
	for _, name := range n.names {
		if n.flag(name) {
			n.problemKey(name, "PAI sends no mail: watch the job instead; run: paictl job show")
		}
	}
}
