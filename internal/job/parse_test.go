package job

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
)

// good is a job with nothing wrong; cases change one line of it.
const good = `protocolVersion: 2
name: train
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: pai.local/example:v0.10}
taskRoles:
  worker:
    instances: 2
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands:
      - echo hello
`

func TestParseGoodJob(t *testing.T) {
	t.Parallel()
	job, warnings, err := Parse([]byte(good), ParseOptions{VirtualClusters: []string{"default"}})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("problems: %v; warnings: %v", err, warnings)
	}
	want := TaskRole{Name: "worker", Instances: 2, MinFailed: 1, MinSucceeded: 2, Image: "pai.local/example:v0.10",
		CPUMilli: 1000, MemoryMB: 64, Ports: []Port{{"ssh", 20000, 1}, {"http", 20001, 1}}, Commands: []string{"echo hello"}}
	if got := job.TaskRoles[0]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if job.VirtualCluster != "default" {
		t.Errorf("virtual cluster %q", job.VirtualCluster)
	}
}

func TestParseProblems(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name      string
		old, new  string // replaced in good
		want      string // the only problem
		wantPlace string
	}{
		{"version", "protocolVersion: 2", "protocolVersion: 1", `protocolVersion: must be 2, not 1`, "1:18"},
		{"missing version", "protocolVersion: 2\n", "", `protocolVersion: is missing`, "1:1"},
		{"empty name", "name: train", "name:", `name: must not be empty`, "2:1"},
		{"numeric name", "name: train", "name: 12", `name: must be a string, not 12: write "12" in quotes`, "2:7"},
		{"name with a dot", "name: train", "name: a.b", `name: can have letters, digits, - and _ only, not "a.b"`, "2:7"},
		{"type", "type: job", "type: script", `type: must be job, not the text "script"`, "3:7"},
		{"misspelled field", "    instances: 2", "    instance: 2", `taskRoles.worker.instance: unknown field; did you mean "instances"?`, "8:5"},
		{"misspelled with dashes", "    instances: 2", "    task-retry-count: 2", `taskRoles.worker.task-retry-count: unknown field; did you mean "taskRetryCount"?`, "8:5"},
		{"far from any field", "    instances: 2", "    zebra: 2", `taskRoles.worker.zebra: unknown field`, "8:5"},
		{"no instances", "instances: 2", "instances: 0", `taskRoles.worker.instances: must be from 1 to 1000, not 0`, "8:16"},
		{"leading zero", "instances: 2", "instances: 010", `taskRoles.worker.instances: must be a whole number, not 010, which programs read as different numbers: write it in decimal digits, without leading zeros`, "8:16"},
		{"cpu with a leading zero", "cpu: 1", "cpu: 01.5", `taskRoles.worker.resourcePerInstance.cpu: must be a number, not 01.5, which programs read as different numbers`, "10:32"},
		{"memory that no container starts with", "memoryMB: 64", "memoryMB: 1", `taskRoles.worker.resourcePerInstance.memoryMB: must be from 16 to 16777216, not 1`, "10:45"},
		{"text for a number", "instances: 2", "instances: two", `taskRoles.worker.instances: must be a whole number, not the text "two"`, "8:16"},
		{"unknown image", "dockerImage: image", "dockerImage: imag", `taskRoles.worker.dockerImage: prerequisite "imag" of type dockerimage not found; did you mean "image"?`, "9:18"},
		{"bad image", "pai.local/example:v0.10", "'not an image'", `prerequisites[0].uri: is not the name of an image`, "5:43"},
		{"no cpu", "cpu: 1, ", "", `taskRoles.worker.resourcePerInstance.cpu: is missing`, "10:5"},
		{"negative cpu", "cpu: 1", "cpu: -1", `taskRoles.worker.resourcePerInstance.cpu: must be from 0.001 to 4096, not -1`, "10:32"},
		{"no gpu", ", gpu: 0", "", `taskRoles.worker.resourcePerInstance.gpu: is missing`, "10:5"},
		{"no commands", "commands:\n      - echo hello", "commands: []", `taskRoles.worker.commands: must be a list of at least one string`, "11:15"},
		{"command is a number", "- echo hello", "- 7", `taskRoles.worker.commands[0]: must be a string, not 7: write "7" in quotes`, "12:9"},
		{"unknown parameter", "echo hello", "echo <% $parameters.lr %>", `taskRoles.worker.commands[0]: <% $parameters.lr %>: parameter not found`, "12:9"},
		{"role without data", "echo hello", "echo <% $data.uri[0] %>", `taskRoles.worker.commands[0]: <% $data.uri[0] %>: the task role has no field data`, "12:9"},
		{"role name", "  worker:", "  1worker:", `taskRoles.1worker: the name of a task role can have letters`, "7:3"},
		{"duplicate field", "type: job", "type: job\nname: again", `duplicate key "name"; the first is on line 2`, "4:1"},
		{"no such virtual cluster", "type: job", "type: job\ndefaults: {virtualCluster: vc9}", `defaults.virtualCluster: virtual cluster "vc9" not found; there is default`, "4:28"},
		{"deployment", "type: job", "type: job\ndefaults: {deployment: prd}\ndeployments: [{name: prod}]", `defaults.deployment: deployment "prd" not found; did you mean "prod"?`, "4:24"},
		{"deployment of no task role", "type: job", "type: job\ndeployments: [{name: prod, taskRoles: {ps: {preCommands: [a]}}}]", `deployments[0].taskRoles.ps: task role "ps" not found`, "4:40"},
		{"deployment without commands", "type: job", "type: job\ndeployments: [{name: prod, taskRoles: {worker: {preCommands: []}}}]", `deployments[0].taskRoles.worker.preCommands: must be a list of at least one string`, "4:62"},
		{"reference in a deployment", "type: job", "type: job\ndefaults: {deployment: prod}\ndeployments: [{name: prod, taskRoles: {worker: {preCommands: [<% $parameters.x %>]}}}]", `deployments[0].taskRoles.worker.preCommands[0]: <% $parameters.x %>: parameter not found`, "5:63"},
		{"unknown secret", "echo hello", "echo <% $secrets.x %>", `taskRoles.worker.commands[0]: <% $secrets.x %>: secret not found`, "12:9"},
		{"unknown plugin", "type: job", "type: job\nextras: {com.microsoft.pai.runtimeplugin: [{plugin: shh}]}", `plugin "shh" not found; there is cmd, git, ssh, teamwise_storage, tensorboard`, "4:53"},
		{"plugin twice", "type: job", "type: job\nextras: {com.microsoft.pai.runtimeplugin: [{plugin: ssh, parameters: {}}, {plugin: ssh, parameters: {}}]}", `ssh is given twice`, "4:84"},
		{"storage at a system directory", "type: job", "type: job\nextras: {storages: [{name: a, mountPath: /etc}]}", `extras.storages[0]: mountPath: /etc would hide /etc, which tasks need`, "4:21"},
		{"storages at one place", "type: job", "type: job\nextras: {storages: [{name: a, mountPath: /d}, {name: b, mountPath: /d/b}]}", `storage "a" at /d and storage "b" at /d/b overlap`, "4:47"},
		{"a place without a name", "type: job", "type: job\nextras: {storages: [{mountPath: /d}]}", `extras.storages[0].mountPath: names one place for the default storages`, "4:33"},
		{"prerequisite of a role", "instances: 2", "instances: 2\n    prerequisites: [imag]", `taskRoles.worker.prerequisites[0]: prerequisite "imag" not found; did you mean "image"?`, "9:21"},
		{"time limit", "type: job", "type: job\nextras: {timeLimit: soon}", `extras.timeLimit: must be a time from 1s to 366d, such as 90m or 2d, not the text "soon"`, "4:21"},
		{"time limit without end", "type: job", "type: job\nextras: {timeLimit: 400d}", `extras.timeLimit: must be a time from 1s to 366d`, "4:21"},
		{"priority", "type: job", "type: job\nextras: {hivedScheduler: {jobPriorityClass: high}}", `must be one of crit, prod, test, oppo, not "high"`, "4:45"},
		{"alias", "echo hello", "&a echo hello", `YAML anchors, aliases, and merge keys are not accepted`, "12:9"},
		{"NUL", "- echo hello", `- "a\0b"`, `contains a NUL character`, "12:9"},
		{"no failures needed", "instances: 2", "instances: 2\n    completion: {minFailedInstances: 0}", `taskRoles.worker.completion.minFailedInstances: must be at least 1, or -1`, "9:38"},
		{"no success needed", "instances: 2", "instances: 2\n    completion: {minSucceededInstances: 0}", `taskRoles.worker.completion.minSucceededInstances: must be at least 1, or -1`, "9:41"},
		{"more than there are", "instances: 2", "instances: 2\n    completion: {minSucceededInstances: 3}", `taskRoles.worker.completion.minSucceededInstances: must be from -1 to 2, not 3`, "9:41"},
		{"not YAML", "type: job", "type: [job", `the list that [ opens here is not closed, or a comma is missing in it`, "3:1"},
		{"second document", "      - echo hello", "      - echo hello\n---\nname: x", `a second YAML document starts here`, "13:1"},
		{"tab", "    instances: 2", "\tinstances: 2", `indentation with a tab: use spaces`, "8:1"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(good, c.old) {
				t.Fatalf("%q is not in the good job", c.old)
			}
			_, _, err := Parse([]byte(strings.Replace(good, c.old, c.new, 1)), ParseOptions{VirtualClusters: []string{"default"}})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("no problems but %v", err)
			}
			if len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Fatalf("got:\n%v\nwant one problem with:\n%s", problems, c.want)
			}
			if place := fmt.Sprintf("%d:%d", problems[0].Line, problems[0].Column); place != c.wantPlace {
				t.Errorf("%v: is at %s, want %s", problems[0], place, c.wantPlace)
			}
		})
	}
}

func TestParseReportsAllProblemsInOrder(t *testing.T) {
	t.Parallel()
	_, _, err := Parse([]byte(`protocolVersion: 3
name: a b
kind: job
taskRoles:
  worker:
    instances: -2
    resourcePerInstance: {cpu: none, memoryMB: 0}
    commands: echo
`), ParseOptions{})
	want := `1:1: type: is missing
1:18: protocolVersion: must be 2, not 3
2:7: name: can have letters, digits, - and _ only, not "a b"
3:1: kind: unknown field
5:3: taskRoles.worker.dockerImage: is missing
6:16: taskRoles.worker.instances: must be from 1 to 1000, not -2
7:5: taskRoles.worker.resourcePerInstance.gpu: is missing
7:32: taskRoles.worker.resourcePerInstance.cpu: must be a number, not the text "none"
7:48: taskRoles.worker.resourcePerInstance.memoryMB: must be from 16 to 16777216, not 0
8:15: taskRoles.worker.commands: must be a list of at least one string`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestParseRefusesWhatBreaksLimits(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", MaxDepth+2) + strings.Repeat("]", MaxDepth+2)
	for name, text := range map[string]string{
		"empty":      "",
		"comment":    "# nothing\n",
		"scalar":     "job",
		"list":       "- job",
		"too long":   good + "#" + strings.Repeat("x", MaxSize),
		"too deep":   good + "extras: {x: " + deep + "}\n",
		"aliases":    "a: &a [x]\nb: [*a, *a]\n",
		"merge keys": "a: &a {x: 1}\n<<: *a\n",
		"binary":     "\x00\x01",
	} {
		if _, _, err := Parse([]byte(text), ParseOptions{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A hostile job must not cost the server more than it costs its sender.
func TestParseBoundsWhatItReports(t *testing.T) {
	t.Parallel()
	var fields, references strings.Builder
	for i := range 8000 {
		fmt.Fprintf(&fields, ", f%d: 1", i)
	}
	for i := range 2000 {
		fmt.Fprintf(&references, "      - echo <%% $parameters.p%d %%>\n", i)
	}
	for name, text := range map[string]string{
		"unknown fields": strings.Replace(good, "{cpu: 1", "{cpu: 1"+fields.String(), 1),
		"long names":     strings.Replace(good, "  worker:", "  "+strings.Repeat("w", 900)+":", 1) + "    x: 1\n    y: 1\n",
		"references":     good + references.String(),
	} {
		_, _, err := Parse([]byte(text), ParseOptions{})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) > maxProblems+1 {
			t.Fatalf("%s: got %d problems", name, len(problems))
		}
		for _, p := range problems {
			if len(p.Path)+len(p.Message) > 4000 {
				t.Errorf("%s: a problem of %d bytes", name, len(p.Path)+len(p.Message))
			}
		}
		if last := problems[len(problems)-1].Message; name != "long names" && !strings.HasPrefix(last, "and ") {
			t.Errorf("%s: got %q, want the number of other problems", name, last)
		}
	}
}

func TestParseWarnings(t *testing.T) {
	t.Parallel()
	_, warnings, err := Parse([]byte(good+"extras:\n  submitFrom: portal\n  gangAllocation: true\n  myTool: {x: y}\n"), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0].String() != "16:3: extras.myTool: has no effect here; it is kept with the job" {
		t.Errorf("warnings: %v", warnings)
	}
}

func TestParseFillsInReferences(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/train.yaml")
	if err != nil {
		t.Fatal(err)
	}
	job, _, err := Parse(text, ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := job.TaskRoles[0].Commands[0], `echo "lr 0.1 from /data/cifar10 in $$"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Parse accepts a text or returns problems, and an accepted text becomes an
// object.
func TestParseAcceptsOrReturnsProblems(t *testing.T) {
	t.Parallel()
	lines := strings.SplitAfter(good, "\n")
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for _, line := range lines {
			switch rapid.IntRange(0, 12).Draw(t, "what") {
			case 0: // left out
			case 1:
				b.WriteString(line + line)
			case 2:
				b.WriteString(rapid.StringN(0, 20, -1).Draw(t, "text") + "\n")
			case 3:
				b.WriteString(strings.Replace(line, ": ", ": "+rapid.SampledFrom([]string{"[", "{a: ", "-1", "&x ", "!!int "}).Draw(t, "value"), 1))
			default:
				b.WriteString(line)
			}
		}
		job, _, err := Parse([]byte(b.String()), ParseOptions{})
		var problems Problems
		switch {
		case err == nil:
			if _, err := job.Objects("user", []byte(b.String()), "texts"); err != nil {
				t.Fatalf("accepted, and then: %v", err)
			}
		case !errors.As(err, &problems) || len(problems) == 0:
			t.Fatalf("error without problems: %v", err)
		}
	})
}

// Kubernetes ends all task roles when one has ended with failed tasks.
func TestToleratedFailuresNeedOneTaskRole(t *testing.T) {
	t.Parallel()
	tolerant := strings.Replace(twoRoles, "instances: 2", "instances: 2\n    completion: {minFailedInstances: -1}", 1)
	_, _, err := Parse([]byte(tolerant), ParseOptions{})
	if err == nil || !strings.Contains(err.Error(), "taskRoles.worker.completion.minFailedInstances: must be 1 in a job with several task roles, not -1") {
		t.Errorf("got %v", err)
	}
	for minFailed, want := range map[string]string{"-1": "<nil>", "2": "1", "1": "0", "3": "<nil>"} {
		spec := parsed(t, strings.Replace(good, "instances: 2", "instances: 2\n    completion: {minFailedInstances: "+minFailed+"}", 1))
		got := "<nil>"
		if n := spec.TaskRoles[0].maxFailed(); n != nil {
			got = fmt.Sprint(*n)
		}
		rules := spec.failurePolicy().Rules
		if got != want || (len(rules) == 1) != (minFailed != "1") {
			t.Errorf("%s: got %s and %v, want %s", minFailed, got, rules, want)
		}
		// Another action would start the job again, or would not mark it.
		if len(rules) == 1 && (rules[0].Action != jobset.FailJobSet || fmt.Sprint(rules[0].OnJobFailureReasons) != "[FailedIndexes]") {
			t.Errorf("%s: got the rule %+v", minFailed, rules[0])
		}
	}
}

// Of several deployments, the one that the job chooses runs, and none if it chooses none.
func TestDeploymentsRunOnlyIfChosen(t *testing.T) {
	t.Parallel()
	two := good + "deployments:\n" +
		"  - {name: a, taskRoles: {worker: {preCommands: [before a], postCommands: [after a]}}}\n" +
		"  - {name: b, taskRoles: {worker: {preCommands: [before b]}}}\n"
	for defaults, want := range map[string]string{
		"":                            "[echo hello]",
		"defaults: {deployment: a}\n": "[before a echo hello after a]",
		"defaults: {deployment: b}\n": "[before b echo hello]",
	} {
		if got := fmt.Sprint(parsed(t, two+defaults).TaskRoles[0].Commands); got != want {
			t.Errorf("%q: got %s, want %s", defaults, got, want)
		}
	}
}

// A prerequisite that requires itself is run once.
func TestPrerequisitesRequireOneAnother(t *testing.T) {
	t.Parallel()
	spec := parsed(t, strings.NewReplacer("instances: 2", "instances: 2\n    prerequisites: [a]", "taskRoles:", `  - {name: a, type: script, plugin: com.microsoft.pai.runtimeplugin.cmd, require: [b], callbacks: [{event: taskStarts, commands: [a]}]}
  - {name: b, type: script, plugin: com.microsoft.pai.runtimeplugin.cmd, require: [a], callbacks: [{event: taskStarts, commands: [b]}]}
taskRoles:`).Replace(good))
	if got := fmt.Sprint(spec.TaskRoles[0].Before); got != "[{[b] false} {[a] false}]" {
		t.Errorf("got %s", got)
	}
}
