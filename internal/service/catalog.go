package service

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Service is one PAI service of a release: its service.yaml and its files.
type Service struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// Prerequisites are the services that must be ready before this one starts.
	Prerequisites []string `yaml:"prerequisites"`
	// Beside are those of Prerequisites that this one need not wait for while they are
	// ready in an older release: they are upgraded at the same time.
	Beside    []string      `yaml:"beside"`
	JobImpact pai.JobImpact `yaml:"jobImpact"`
	// State is where the service stores data that must not be lost: "none",
	// "cluster" (objects in the API), or "volume:NAME".
	State string `yaml:"state"`
	// Images are the images of the release that its pods can use.
	Images []string `yaml:"images"`
	// KeepWebhooks are the admission webhooks of the chart to keep; empty
	// keeps all of them.
	KeepWebhooks []string `yaml:"keepWebhooks"`
	// Omit are the objects of the chart to leave out, as "Kind/name". The name
	// can be a pattern.
	Omit []string `yaml:"omit"`
	// WebhookCertificate is created before the service is applied for the
	// first time; nil if the program has none.
	WebhookCertificate *WebhookCertificate `yaml:"webhookCertificate"`
	// MetricsLogin means that the service needs the logins to metrics.
	MetricsLogin bool `yaml:"metricsLogin"`

	files fs.FS
}

const serviceFile = "service.yaml"

// Catalog reads the services of a bundle: directories with a service.yaml. It
// reports all problems at once.
func Catalog(fsys fs.FS) ([]Service, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the services: %w", err)
	}
	var services []Service
	var problems []error
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		s, err := load(fsys, e.Name())
		if err != nil {
			problems = append(problems, err)
		}
		if s.Name != "" {
			services = append(services, s)
		}
	}
	problems = append(problems, checkTogether(services)...)
	if err := errors.Join(problems...); err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, "fix the service directories and build the bundle again", "invalid services:\n%w", err)
	}
	return services, nil
}

func load(fsys fs.FS, dir string) (Service, error) {
	var s Service
	data, err := fs.ReadFile(fsys, path.Join(dir, serviceFile))
	if err != nil {
		return s, fmt.Errorf("%s: read %s: %w", dir, serviceFile, err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	decodeErr := decoder.Decode(&s)
	if s.Name == "" {
		s.Name = dir // so that the services that need it are not reported
	}
	if s.files, err = fs.Sub(fsys, dir); err != nil {
		return s, fmt.Errorf("%s: %w", dir, err)
	}
	problems := append([]error{decodeErr}, s.check(dir)...)
	for i, p := range problems {
		if p != nil {
			problems[i] = fmt.Errorf("%s/%s: %w", dir, serviceFile, p)
		}
	}
	return s, errors.Join(problems...)
}

func (s Service) check(dir string) []error {
	var problems []error
	if s.Name != dir {
		problems = append(problems, fmt.Errorf("name is %q, but the directory is %q", s.Name, dir))
	}
	switch s.JobImpact {
	case pai.ImpactNone, pai.ImpactSubmission, pai.ImpactDataPath:
	default:
		problems = append(problems, fmt.Errorf("jobImpact is %q, not one of none, submission, data-path", s.JobImpact))
	}
	switch volume := s.volume(); {
	case volume == "" && s.State != "none" && s.State != "cluster":
		problems = append(problems, fmt.Errorf("state is %q, not one of none, cluster, volume:NAME", s.State))
	case volume != "" && volume != s.Name:
		problems = append(problems, fmt.Errorf("state is %q, but a volume has the name of its service: volume:%s", s.State, s.Name))
	}
	if pai.IsReservedVolume(s.volume()) {
		problems = append(problems, fmt.Errorf("state is %q, but %q is the name of a directory that PAI itself uses", s.State, s.volume()))
	}
	for _, b := range s.Beside {
		if !slices.Contains(s.Prerequisites, b) {
			problems = append(problems, fmt.Errorf("beside has %q, which is not one of its prerequisites", b))
		}
	}
	for _, pattern := range s.Omit {
		if kind, name, ok := strings.Cut(pattern, "/"); !ok || kind == "" || name == "" {
			problems = append(problems, fmt.Errorf("omit has %q, not Kind/name", pattern))
		} else if _, err := path.Match(name, ""); err != nil {
			problems = append(problems, fmt.Errorf("omit has %q: %w", pattern, err))
		}
	}
	if err := s.WebhookCertificate.check(); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// checkTogether finds missing prerequisites and cycles.
func checkTogether(services []Service) []error {
	var problems []error
	byName := map[string]Service{}
	for _, s := range services {
		byName[s.Name] = s
	}
	for _, s := range services {
		for _, p := range s.Prerequisites {
			if _, ok := byName[p]; !ok {
				problems = append(problems, fmt.Errorf("%s/%s: prerequisite %q not found", s.Name, serviceFile, p))
			}
		}
	}
	for _, cycle := range cycles(services) {
		problems = append(problems, fmt.Errorf("the prerequisites form a cycle: %s", strings.Join(cycle, " → ")))
	}
	return problems
}

// volume is the volume that holds the state of the service; empty for none.
func (s Service) volume() string {
	volume, found := strings.CutPrefix(s.State, "volume:")
	if !found {
		return ""
	}
	return volume
}

// Planned is the service as the planner knows it.
func (s Service) Planned() plan.ServiceSpec {
	return plan.ServiceSpec{Name: s.Name, Prerequisites: s.Prerequisites, Beside: s.Beside, Impact: s.JobImpact, Volume: s.volume()}
}

// cycles returns each cycle of prerequisites once, starting at its first
// service by name.
func cycles(services []Service) [][]string {
	needs := map[string][]string{}
	for _, s := range services {
		needs[s.Name] = s.Prerequisites
	}
	var found [][]string
	var walk func(start, at string, path []string)
	walk = func(start, at string, path []string) {
		path = append(slices.Clone(path), at)
		for _, next := range needs[at] {
			if next == start {
				found = append(found, append(path, start))
			} else if next > start && !slices.Contains(path, next) {
				walk(start, next, path)
			}
		}
	}
	for _, s := range services {
		walk(s.Name, s.Name, nil)
	}
	return found
}
