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
	// Prerequisites are the services that must be ready before it starts.
	Prerequisites []string      `yaml:"prerequisites"`
	JobImpact     pai.JobImpact `yaml:"jobImpact"`
	// State is where the service keeps what must not be lost: "none",
	// "cluster" (objects in the API) or "volume:NAME".
	State string `yaml:"state"`
	// Images are the names of the release's images that its pods may use.
	Images []string `yaml:"images"`
	// KeepWebhooks names the admission webhooks of the chart that are kept;
	// all of them when it is empty.
	KeepWebhooks []string `yaml:"keepWebhooks"`
	// Omit names objects of the chart that are left out: "Kind/name", where
	// the name may be a pattern.
	Omit []string `yaml:"omit"`
	// WebhookCertificate is made before the service is first applied; nil
	// where its program keeps none.
	WebhookCertificate *WebhookCertificate `yaml:"webhookCertificate"`

	files fs.FS
}

const serviceFile = "service.yaml"

// Catalog reads the services of a bundle: folders with a service.yaml. It
// reports everything that is wrong with any of them at once.
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
		return nil, pai.Errorf(pai.CodeInvalid, "correct the services' folders and build the bundle again", "the services are not valid:\n%w", err)
	}
	return services, nil
}

func load(fsys fs.FS, folder string) (Service, error) {
	var s Service
	data, err := fs.ReadFile(fsys, path.Join(folder, serviceFile))
	if err != nil {
		return s, fmt.Errorf("%s: read %s: %w", folder, serviceFile, err)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	decodeErr := decoder.Decode(&s)
	if s.Name == "" {
		s.Name = folder // so that what needs it is not reported as well
	}
	if s.files, err = fs.Sub(fsys, folder); err != nil {
		return s, fmt.Errorf("%s: %w", folder, err)
	}
	problems := append([]error{decodeErr}, s.check(folder)...)
	for i, p := range problems {
		if p != nil {
			problems[i] = fmt.Errorf("%s/%s: %w", folder, serviceFile, p)
		}
	}
	return s, errors.Join(problems...)
}

func (s Service) check(folder string) []error {
	var problems []error
	if s.Name != folder {
		problems = append(problems, fmt.Errorf("name is %q, the folder is %q", s.Name, folder))
	}
	switch s.JobImpact {
	case pai.ImpactNone, pai.ImpactSubmission, pai.ImpactDataPath:
	default:
		problems = append(problems, fmt.Errorf("jobImpact is %q, not one of none, submission, data-path", s.JobImpact))
	}
	if volume, isVolume := strings.CutPrefix(s.State, "volume:"); s.State != "none" && s.State != "cluster" && (!isVolume || volume == "") {
		problems = append(problems, fmt.Errorf("state is %q, not one of none, cluster, volume:NAME", s.State))
	}
	if volume, is := strings.CutPrefix(s.State, "volume:"); is && volume != "" && volume != s.Name {
		problems = append(problems, fmt.Errorf("state is %q, and a volume has the name of its service: volume:%s", s.State, s.Name))
	}
	for _, pattern := range s.Omit {
		if kind, name, ok := strings.Cut(pattern, "/"); !ok || kind == "" || name == "" {
			problems = append(problems, fmt.Errorf("omit has %q, which is not Kind/name", pattern))
		} else if _, err := path.Match(name, ""); err != nil {
			problems = append(problems, fmt.Errorf("omit has %q: %w", pattern, err))
		}
	}
	if err := s.WebhookCertificate.check(); err != nil {
		problems = append(problems, err)
	}
	return problems
}

// checkTogether finds prerequisites that do not exist, and circles.
func checkTogether(services []Service) []error {
	var problems []error
	byName := map[string]Service{}
	for _, s := range services {
		byName[s.Name] = s
	}
	for _, s := range services {
		for _, p := range s.Prerequisites {
			if _, ok := byName[p]; !ok {
				problems = append(problems, fmt.Errorf("%s/%s: prerequisite %q does not exist", s.Name, serviceFile, p))
			}
		}
	}
	for _, circle := range circles(services) {
		problems = append(problems, fmt.Errorf("the services %s need each other in a circle", strings.Join(circle, " → ")))
	}
	return problems
}

// Planned is the service as the planner knows it.
func (s Service) Planned() plan.Service {
	volume, _ := strings.CutPrefix(s.State, "volume:")
	if volume == s.State {
		volume = ""
	}
	return plan.Service{Name: s.Name, Prerequisites: s.Prerequisites, Impact: s.JobImpact, Volume: volume}
}

// circles returns each circle of prerequisites once, starting at its first
// service by name.
func circles(services []Service) [][]string {
	needs := map[string][]string{}
	for _, s := range services {
		needs[s.Name] = s.Prerequisites
	}
	var found [][]string
	var walk func(start, at string, way []string)
	walk = func(start, at string, way []string) {
		way = append(slices.Clone(way), at)
		for _, next := range needs[at] {
			if next == start {
				found = append(found, append(way, start))
			} else if next > start && !slices.Contains(way, next) {
				walk(start, next, way)
			}
		}
	}
	for _, s := range services {
		walk(s.Name, s.Name, nil)
	}
	return found
}

// Order lists the named services and all that they need, prerequisites first
// and by name where that leaves a choice; every service when none is named.
// Stopping goes the other way round.
func Order(services []Service, names ...string) ([]Service, error) {
	byName := map[string]Service{}
	var nodes []plan.Service
	for _, s := range services {
		byName[s.Name] = s
		nodes = append(nodes, plan.Service{Name: s.Name, Prerequisites: s.Prerequisites})
	}
	wanted := map[string]bool{}
	var want func(name string) error
	want = func(name string) error {
		s, ok := byName[name]
		if !ok {
			return pai.Errorf(pai.CodeUsage, "", "there is no service %q", name)
		}
		if wanted[name] {
			return nil
		}
		wanted[name] = true
		for _, p := range s.Prerequisites {
			if err := want(p); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range names {
		if err := want(name); err != nil {
			return nil, err
		}
	}
	ordered, err := plan.Order(nodes)
	if err != nil {
		return nil, err
	}
	var out []Service
	for _, n := range ordered {
		if len(names) == 0 || wanted[n.Name] {
			out = append(out, byName[n.Name])
		}
	}
	return out, nil
}
