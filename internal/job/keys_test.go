package job

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// protocolKeys are the keys in the schema of the protocol (openpai-protocol,
// schemas/v2/schema.yaml), and those that the runtime of the historical PAI read besides.
const protocolKeys = `protocolVersion name type version contributor description
prerequisites[].protocolVersion prerequisites[].name prerequisites[].version prerequisites[].contributor prerequisites[].description
prerequisites[].type prerequisites[].auth.username prerequisites[].auth.password prerequisites[].auth.registryuri prerequisites[].uri
parameters.NAME secrets.NAME jobRetryCount
taskRoles.ROLE.instances taskRoles.ROLE.completion.minFailedInstances taskRoles.ROLE.completion.minSucceededInstances
taskRoles.ROLE.taskRetryCount taskRoles.ROLE.dockerImage taskRoles.ROLE.data taskRoles.ROLE.output taskRoles.ROLE.script
taskRoles.ROLE.extraContainerOptions.shmMB taskRoles.ROLE.extraContainerOptions.infiniband
taskRoles.ROLE.resourcePerInstance.cpu taskRoles.ROLE.resourcePerInstance.memoryMB taskRoles.ROLE.resourcePerInstance.gpu
taskRoles.ROLE.resourcePerInstance.ports.NAME taskRoles.ROLE.commands
deployments[].name deployments[].taskRoles.ROLE.preCommands deployments[].taskRoles.ROLE.postCommands
defaults.virtualCluster defaults.deployment
extras.submitFrom extras.gangAllocation extras.hivedScheduler.jobPriorityClass
extras.hivedScheduler.taskRoles.ROLE.skuType extras.hivedScheduler.taskRoles.ROLE.affinityGroupName extras.hivedScheduler.taskRoles.ROLE.skuNum
extras.hivedScheduler.taskRoles.ROLE.pinnedCellId
extras.storages[].name extras.storages[].mountPath extras.jobStatusChangeNotification.NAME
prerequisites[].plugin prerequisites[].require taskRoles.ROLE.prerequisites
extras.com.microsoft.pai.runtimeplugin[].plugin extras.com.microsoft.pai.runtimeplugin[].taskroles extras.com.microsoft.pai.runtimeplugin[].failurePolicy`

// everything is a job with all keys that are accepted.
const everything = `protocolVersion: 2
name: everything
type: job
version: 1.0
contributor: alice
description: all keys
prerequisites:
  - {protocolVersion: 2, name: image, type: dockerimage, version: 1, contributor: c, description: d, uri: registry.example.com/a/b:1,
     auth: {username: robot, password: <% $secrets.password %>, registryuri: registry.example.com}}
  - {protocolVersion: 2, name: in, type: data, version: first, contributor: someone, description: numbers, uri: [/data/in]}
  - {name: out, type: output, uri: /data/out}
  - {name: code, type: script, uri: github.com/a/b}
  - {name: fetch, type: script, plugin: com.microsoft.pai.runtimeplugin.cmd, failurePolicy: ignore, require: [earlier],
     callbacks: [{event: taskStarts, commands: [fetch one]}]}
  - {name: earlier, type: script, plugin: com.microsoft.pai.runtimeplugin.cmd, callbacks: [{event: taskStarts, commands: [fetch zero]}]}
parameters: {lr: 0.1}
secrets: {password: hunter2-hunter2}
jobRetryCount: 1
taskRoles:
  worker:
    instances: 2
    completion: {minFailedInstances: 2, minSucceededInstances: 1}
    taskRetryCount: 3
    prerequisites: [fetch]
    dockerImage: image
    data: in
    output: out
    script: code
    extraContainerOptions: {shmMB: 64, infiniband: false}
    resourcePerInstance: {cpu: 2, memoryMB: 128, gpu: 1, ports: {meet: 2}}
    commands:
      - train <% $parameters.lr %> <% $data.uri[0] %> <% $data.version %> <% $data.contributor %> <% $data.description %> <% $output.uri %> <% $script.uri %>
      - login <% $secrets.password %>
deployments:
  - {name: here, taskRoles: {worker: {preCommands: [before], postCommands: [after]}}}
  - {name: there, taskRoles: {worker: {preCommands: [never]}}}
defaults: {virtualCluster: default, deployment: here}
extras:
  submitFrom: test
  gangAllocation: false
  timeLimit: 2h
  hivedScheduler: {jobPriorityClass: prod, taskRoles: {worker: {skuNum: 1, skuType: null, pinnedCellId: null, affinityGroupName: one}}}
  jobStatusChangeNotification: {failed: false}
  storages: [{name: data, mountPath: /data}]
  com.microsoft.pai.runtimeplugin:
    - plugin: ssh
      taskroles: [worker]
      parameters: {jobssh: true, sshbarrier: true, sshbarrierTimeout: 7, userssh: {type: custom, value: "ssh-ed25519 AAAA alice"}}
    - plugin: cmd
      failurePolicy: ignore
      parameters: {callbacks: [{event: taskSucceeds, commands: [upload]}], preCommands: [prepare], postCommands: [clean]}
    - plugin: git
      parameters: {repo_uri: "https://example.com/a.git", options: [--depth=1], clone_dir: code}
    - plugin: tensorboard
      parameters: {port: 6006, logdir: {first: /logs}}
    - plugin: teamwise_storage
      parameters: {storageConfigNames: [team]}
`

// effectOf is, for each key, a change of the job everything, and what it changes: the
// objects of the job, or a refusal with these words.
var effectOf = map[string]struct{ old, new, refused string }{
	"protocolVersion":                                   {"protocolVersion: 2\nname", "protocolVersion: 3\nname", "must be 2"},
	"name":                                              {"name: everything", "name: other", ""},
	"type":                                              {"type: job", "type: task", "must be job"},
	"prerequisites[].type":                              {"type: data", "type: cloud", "must be one of"},
	"prerequisites[].name":                              {"name: in,", "name: inn,", "not found"},
	"prerequisites[].uri":                               {"/data/in]", "/data/other]", ""},
	"prerequisites[].version":                           {"version: first", "version: second", ""},
	"prerequisites[].contributor":                       {"contributor: someone", "contributor: other", ""},
	"prerequisites[].description":                       {"description: numbers", "description: letters", ""},
	"prerequisites[].protocolVersion":                   {"{protocolVersion: 2, name: in", "{protocolVersion: 3, name: in", "same"},
	"prerequisites[].auth.username":                     {"username: robot", "username: human", ""},
	"prerequisites[].auth.password":                     {"password: <% $secrets.password %>, reg", "password: other-password, reg", ""},
	"prerequisites[].auth.registryuri":                  {"registryuri: registry.example.com", "registryuri: other.example.com", ""},
	"prerequisites[].plugin":                            {"plugin.cmd, callbacks", "plugin.other, callbacks", "not found"},
	"prerequisites[].require":                           {"require: [earlier]", "require: []", "at least one"},
	"parameters.NAME":                                   {"lr: 0.1", "lr: 0.2", ""},
	"secrets.NAME":                                      {"hunter2-hunter2", "hunter3-hunter3", ""},
	"jobRetryCount":                                     {"jobRetryCount: 1", "jobRetryCount: 2", ""},
	"taskRoles.ROLE.instances":                          {"instances: 2", "instances: 3", ""},
	"taskRoles.ROLE.taskRetryCount":                     {"taskRetryCount: 3", "taskRetryCount: 4", ""},
	"taskRoles.ROLE.prerequisites":                      {"prerequisites: [fetch]", "prerequisites: [earlier]", ""},
	"taskRoles.ROLE.dockerImage":                        {"dockerImage: image", "dockerImage: other", "not found"},
	"taskRoles.ROLE.data":                               {"data: in\n", "data: none\n", "not found"},
	"taskRoles.ROLE.output":                             {"output: out\n", "output: none\n", "not found"},
	"taskRoles.ROLE.script":                             {"script: code\n", "script: none\n", "not found"},
	"taskRoles.ROLE.commands":                           {"- train", "- try", ""},
	"taskRoles.ROLE.completion.minFailedInstances":      {"minFailedInstances: 2", "minFailedInstances: -1", ""},
	"taskRoles.ROLE.completion.minSucceededInstances":   {"minSucceededInstances: 1", "minSucceededInstances: 2", ""},
	"taskRoles.ROLE.extraContainerOptions.shmMB":        {"shmMB: 64", "shmMB: 65", ""},
	"taskRoles.ROLE.extraContainerOptions.infiniband":   {"infiniband: false", "infiniband: true", "no InfiniBand devices"},
	"taskRoles.ROLE.resourcePerInstance.cpu":            {"cpu: 2", "cpu: 3", ""},
	"taskRoles.ROLE.resourcePerInstance.memoryMB":       {"memoryMB: 128", "memoryMB: 129", ""},
	"taskRoles.ROLE.resourcePerInstance.gpu":            {"gpu: 1", "gpu: 2", ""},
	"taskRoles.ROLE.resourcePerInstance.ports.NAME":     {"meet: 2", "meet: 3", ""},
	"deployments[].name":                                {"name: here,", "name: elsewhere,", "deployment \"here\" not found"},
	"deployments[].taskRoles.ROLE.preCommands":          {"[before]", "[sooner]", ""},
	"deployments[].taskRoles.ROLE.postCommands":         {"[after]", "[later]", ""},
	"defaults.virtualCluster":                           {"virtualCluster: default", "virtualCluster: research", ""},
	"defaults.deployment":                               {"deployment: here", "deployment: there", ""},
	"extras.gangAllocation":                             {"gangAllocation: false", "gangAllocation: true", ""},
	"extras.timeLimit":                                  {"timeLimit: 2h", "timeLimit: 1d", ""},
	"extras.hivedScheduler.jobPriorityClass":            {"jobPriorityClass: prod", "jobPriorityClass: oppo", ""},
	"extras.hivedScheduler.taskRoles.ROLE.skuNum":       {"skuNum: 1", "skuNum: 2", "does not fit"},
	"extras.hivedScheduler.taskRoles.ROLE.skuType":      {"skuType: null", "skuType: V100", ""},
	"extras.hivedScheduler.taskRoles.ROLE.pinnedCellId": {"pinnedCellId: null", "pinnedCellId: a", "no cells"},
	"extras.jobStatusChangeNotification.NAME":           {"failed: false", "failed: true", "sends no mail"},
	"extras.storages[].name":                            {"{name: data, mountPath", "{name: team, mountPath", ""},
	"extras.storages[].mountPath":                       {"mountPath: /data", "mountPath: /sets", ""},
	pluginPath + "plugin":                               {"plugin: tensorboard", "plugin: notebook", "not found"},
	pluginPath + "taskroles":                            {"taskroles: [worker]", "taskroles: [other]", "not found"},
	pluginPath + "failurePolicy":                        {"failurePolicy: ignore\n", "failurePolicy: fail\n", ""},
	pluginPath + "parameters.jobssh":                    {"jobssh: true", "jobssh: false", ""},
	pluginPath + "parameters.userssh.type":              {"type: custom", "type: system", "must be custom"},
	pluginPath + "parameters.userssh.value":             {"AAAA", "BBBB", ""},
	pluginPath + "parameters.sshbarrier":                {"sshbarrier: true", "sshbarrier: false", ""},
	pluginPath + "parameters.sshbarrierTimeout":         {"sshbarrierTimeout: 7", "sshbarrierTimeout: 8", ""},
	pluginPath + "parameters.callbacks[].event":         {"event: taskSucceeds", "event: taskStarts", ""},
	pluginPath + "parameters.callbacks[].commands":      {"[upload]", "[up]", ""},
	pluginPath + "parameters.preCommands":               {"[prepare]", "[pre]", ""},
	pluginPath + "parameters.postCommands":              {"[clean]", "[wipe]", ""},
	pluginPath + "parameters.repo_uri":                  {"example.com/a.git", "example.com/b.git", ""},
	pluginPath + "parameters.options":                   {"--depth=1", "--depth=2", ""},
	pluginPath + "parameters.clone_dir":                 {"clone_dir: code", "clone_dir: src", ""},
	pluginPath + "parameters.port":                      {"port: 6006", "port: 6007", ""},
	pluginPath + "parameters.logdir.NAME":               {"first: /logs", "first: /log", ""},
	pluginPath + "parameters.storageConfigNames":        {"storageConfigNames: [team]", "storageConfigNames: [data]", ""},
}

const pluginPath = "extras.com.microsoft.pai.runtimeplugin[]."

// render is what the cluster stores for a job, without its text.
func render(t *testing.T, text string) (string, error) {
	t.Helper()
	spec, _, err := Parse([]byte(text), ParseOptions{Storages: []pai.Storage{{Name: "data", Claim: "storage-data"}, {Name: "team", Claim: "storage-team"}}})
	if err != nil {
		return "", err
	}
	spec.SSHKey = KeyPair{"private", "public"}
	o, err := spec.Objects("alice", nil, "texts")
	if err != nil {
		t.Fatal(err)
	}
	delete(o.Texts.Object["data"].(map[string]any), KeyProtocol)
	data, err := json.Marshal([]any{o.Texts, o.Secret, o.JobSet})
	if err != nil {
		t.Fatal(err)
	}
	return string(data), nil
}

// Nothing is accepted without effect: a change of each key changes what the cluster runs,
// or is refused, unless the key only describes the job.
func TestEveryKeyHasAnEffect(t *testing.T) {
	t.Parallel()
	base, err := render(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		c, known := effectOf[key.Path]
		if !known {
			if !key.Describes {
				t.Errorf("%s: no case", key.Path)
			}
			continue
		}
		if strings.Count(everything, c.old) == 0 {
			t.Errorf("%s: %q is not in the job", key.Path, c.old)
			continue
		}
		got, err := render(t, strings.Replace(everything, c.old, c.new, 1))
		switch {
		case c.refused == "same":
			if err != nil || got != base {
				t.Errorf("%s: got %v, want the same job", key.Path, err)
			}
		case c.refused != "":
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: got %v, want a refusal with %q", key.Path, err, c.refused)
			}
		case err != nil || got == base:
			t.Errorf("%s: the change has no effect: %v", key.Path, err)
		}
	}
}

// The table of docs/jobs.md is that of Keys, which has every key of the protocol and
// every key that the reader knows.
func TestKeysAreThoseOfTheProtocolAndOfTheDocument(t *testing.T) {
	t.Parallel()
	var paths []string
	var table strings.Builder
	for _, k := range Keys() {
		paths = append(paths, k.Path)
		table.WriteString("| `" + strings.Replace(k.Path, pluginPath, "….", 1) + "` | " + k.Effect + " |\n")
	}
	for _, path := range strings.Fields(protocolKeys) {
		if !slices.Contains(paths, path) {
			t.Errorf("%s is in the protocol", path)
		}
	}
	known := func(prefix string, fields []string) {
		for _, f := range fields {
			if !slices.ContainsFunc(paths, func(p string) bool {
				return p == prefix+f || strings.HasPrefix(p, prefix+f+".") || strings.HasPrefix(p, prefix+f+"[]")
			}) {
				t.Errorf("the reader knows %s%s", prefix, f)
			}
		}
	}
	known("", jobFields)
	known("taskRoles.ROLE.", roleFields)
	known("prerequisites[].", imageFields)
	for _, fields := range parameterFields {
		known(pluginPath+"parameters.", fields)
	}
	doc, err := os.ReadFile("../../docs/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?s)\| key \| what it does \|\n\| --- \| --- \|\n(.*?)\n\n`).FindSubmatch(append(doc, '\n'))
	if rows == nil || string(rows[1])+"\n" != table.String() {
		t.Errorf("docs/jobs.md: the table of keys must be\n| key | what it does |\n| --- | --- |\n%s", table.String())
	}
}
