package job

// Key is a key of job protocol v2 and what it does here.
type Key struct {
	Path   string // ROLE, NAME, and [] stand for any
	Effect string
	// Describes reports that the key only describes the job: it changes nothing that runs.
	Describes bool
}

// Keys are all keys that a job can have. docs/jobs.md has the same table.
func Keys() []Key {
	describes := func(path, effect string) Key { return Key{path, effect, true} }
	key := func(path, effect string) Key { return Key{path, effect, false} }
	return []Key{
		describes("protocolVersion", "must be 2"),
		key("name", "the name of the job: letters, digits, `-`, and `_`; up to 255"),
		describes("type", "must be `job`"),
		describes("version", "kept with the job"),
		describes("contributor", "kept with the job"),
		describes("description", "kept with the job"),
		key("prerequisites[].type", "`dockerimage`, `script`, `data`, or `output`"),
		key("prerequisites[].name", "the name that task roles refer to; `script`, `data`, `output`, and `dockerimage` can have the same"),
		key("prerequisites[].uri", "the image of tasks that refer to a `dockerimage`; for the others the text of references (`data` can have a list). PAI fetches nothing but images"),
		describes("prerequisites[].protocolVersion", "the text of `<% $script.protocolVersion %>`"),
		key("prerequisites[].version", "the text of `<% $script.version %>`, and so for any other plain field of a `script`, `data`, or `output`"),
		key("prerequisites[].contributor", "the text of `<% $script.contributor %>`"),
		key("prerequisites[].description", "the text of `<% $script.description %>`"),
		key("prerequisites[].auth.username", "the machines pull the images of the job with it. It is in the Secret of the job"),
		key("prerequisites[].auth.password", "as `username`; write a reference to a secret, `<% $secrets.x %>`"),
		key("prerequisites[].auth.registryuri", "the registry that `auth` is for; without it, that of `uri`"),
		key("prerequisites[].plugin", "`com.microsoft.pai.runtimeplugin.cmd` or `.git`: task roles that name the prerequisite run it, with its other fields as parameters. Others are refused"),
		key("prerequisites[].require", "names of prerequisites whose plugins run first"),
		key("parameters.NAME", "the text of `<% $parameters.NAME %>`; a reference to a missing one is a mistake"),
		key("secrets.NAME", "the text of `<% $secrets.NAME %>` in commands and in `auth`; see [Secrets](#secrets)"),
		key("jobRetryCount", "how often the whole job is restarted after it failed"),
		key("taskRoles.ROLE.instances", "1 to 1000 tasks, in one container each; up to 8 task roles, which is what Kueue admits together"),
		key("taskRoles.ROLE.completion.minFailedInstances", "the number of failed tasks that fails the job, 1 if it is left out; -1: none. Another value than 1 is refused in a job with several task roles: Kubernetes ends them with the first one that has ended with failed tasks"),
		key("taskRoles.ROLE.completion.minSucceededInstances", "the number of succeeded tasks after which the job succeeds and the other tasks end, all if it is left out; -1: the role does not decide"),
		key("taskRoles.ROLE.taskRetryCount", "how often one task is restarted after it failed. A task that the platform ends, or a restart of its machine, does not count as failed"),
		key("taskRoles.ROLE.prerequisites", "names of prerequisites whose plugins run in the tasks; one without plugin does nothing, with a warning"),
		key("taskRoles.ROLE.dockerImage", "the name of a `dockerimage`"),
		key("taskRoles.ROLE.data", "the name of what `$data` refers to"),
		key("taskRoles.ROLE.output", "the name of what `$output` refers to"),
		key("taskRoles.ROLE.script", "the name of what `$script` refers to"),
		key("taskRoles.ROLE.extraContainerOptions.shmMB", "the size of `/dev/shm`"),
		key("taskRoles.ROLE.extraContainerOptions.infiniband", "`false`; `true` is refused: this release gives tasks no InfiniBand devices"),
		key("taskRoles.ROLE.resourcePerInstance.cpu", "cores of a task, also a fraction; it gets exactly these"),
		key("taskRoles.ROLE.resourcePerInstance.memoryMB", "memory of a task in MiB, at least 16: with 1, no container starts"),
		key("taskRoles.ROLE.resourcePerInstance.gpu", "GPUs of a task"),
		key("taskRoles.ROLE.resourcePerInstance.ports.NAME", "a number of ports that each task has for itself; see [Addresses and ports](#addresses-and-ports)"),
		key("taskRoles.ROLE.commands", "the script of a task; see [Tasks](#tasks)"),
		key("deployments[].name", "the name that `defaults.deployment` chooses"),
		key("deployments[].taskRoles.ROLE.preCommands", "run before the commands of the task role, in the same script, if the deployment is chosen"),
		key("deployments[].taskRoles.ROLE.postCommands", "run after the commands of the task role, in the same script, if the deployment is chosen"),
		key("defaults.virtualCluster", "the virtual cluster; `--vc` overrides it; `default` if it is left out"),
		key("defaults.deployment", "the deployment whose commands run; without it, none"),
		describes("extras.submitFrom", "kept with the job"),
		key("extras.gangAllocation", "`false`: no task waits for the addresses of others. The queue still admits the job as a whole"),
		key("extras.timeLimit", "a time such as `90m` or `2d`: a run of the job that takes longer, counted from its admission, fails. PAI only; see [Time limits](#time-limits)"),
		key("extras.hivedScheduler.jobPriorityClass", "`crit`, `prod`, `test`, or `oppo`: the place in the queue; see [Priorities](#priorities)"),
		key("extras.hivedScheduler.taskRoles.ROLE.skuNum", "must divide `gpu`: a task gets what `resourcePerInstance` says"),
		key("extras.hivedScheduler.taskRoles.ROLE.skuType", "the kind of the machines that the tasks run on: a name of `machine-sku`; see [Kinds of machines](#kinds-of-machines)"),
		key("extras.hivedScheduler.taskRoles.ROLE.pinnedCellId", "must be empty: PAI has no cells"),
		describes("extras.hivedScheduler.taskRoles.ROLE.affinityGroupName", "the queue admits all tasks of a job together, with or without it; their machines can be anywhere"),
		describes("extras.jobStatusChangeNotification.NAME", "must be `false`: PAI sends no mail"),
		key("extras.storages[].name", "the storage that the tasks mount; without it, the default storages of the user. Unknown: 404; without the right: 403. See [Storages](#storages)"),
		key("extras.storages[].mountPath", "where the tasks have it; `/mnt/NAME` if it is left out"),
		key("extras.com.microsoft.pai.runtimeplugin[].plugin", "`ssh`, `cmd`, `git`, `tensorboard`, or `teamwise_storage`; see [Plugins](#plugins)"),
		key("extras.com.microsoft.pai.runtimeplugin[].taskroles", "the task roles that the plugin acts in; all if it is left out"),
		key("extras.com.microsoft.pai.runtimeplugin[].failurePolicy", "`ignore`: the task continues if the commands of `cmd` or `git` fail; `fail` if it is left out"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.jobssh", "ssh: the tasks can log in to one another as `ROLE-INDEX`"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.userssh.type", "ssh: `custom`; others are refused if there is a `value`, because PAI keeps no ssh keys of users"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.userssh.value", "ssh: public keys that can log in to the tasks, one in each line"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.sshbarrier", "ssh: the commands start when a task can log in to all others"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.sshbarrierTimeout", "ssh: minutes after which a task with `sshbarrier` fails with exit code 10; 300 if it is left out"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.callbacks[].event", "cmd: `taskStarts` (or `containerStarts`), `taskSucceeds` (or `containerEnds`, which also waits for success)"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.callbacks[].commands", "cmd: a separate script before the commands of the task role, or after they succeeded"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.preCommands", "cmd: as `taskStarts`"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.postCommands", "cmd: as `taskSucceeds`"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.repo_uri", "git: the repository that the `git` of the image clones"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.options", "git: options of `git clone`"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.clone_dir", "git: the directory that the files come to; required"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.port", "tensorboard: its port"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.logdir.NAME", "tensorboard: a directory that it shows"),
		key("extras.com.microsoft.pai.runtimeplugin[].parameters.storageConfigNames", "teamwise_storage: the storages that the tasks mount at `/mnt/NAME`; without it, the default storages of the user"),
		describes("extras.NAME", "any other part of `extras` is kept with the job and has no effect, with a warning"),
	}
}
