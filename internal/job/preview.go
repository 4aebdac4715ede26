package job

// Preview is what a job will be, without its objects.
type Preview struct {
	Name           string        `json:"name"`
	VirtualCluster string        `json:"virtualCluster"`
	Namespace      string        `json:"namespace"`
	Tasks          int           `json:"tasks"`
	RetryCount     int           `json:"retryCount"`
	Total          Resources     `json:"total"` // of all tasks
	TaskRoles      []RolePreview `json:"taskRoles"`
	// Effects are the parts of the job that ask for more than tasks, and what each does.
	Effects []Effect `json:"effects"`
	// Secret reports that the job has a Secret.
	Secret bool `json:"secret"`
}

// Resources are what tasks get.
type Resources struct {
	CPU      float64 `json:"cpu"` // cores
	MemoryMB int64   `json:"memoryMB"`
	GPU      int64   `json:"gpu"`
}

// RolePreview is what the tasks of a role will be.
type RolePreview struct {
	Name         string            `json:"name"`
	Instances    int               `json:"instances"`
	Image        string            `json:"image"`
	Each         Resources         `json:"each"` // of one task
	ShmMB        int64             `json:"shmMB,omitempty"`
	Ports        map[string]string `json:"ports"` // numbers by name, separated by commas
	RetryCount   int               `json:"retryCount"`
	MinFailed    int               `json:"minFailedInstances"`
	MinSucceeded int               `json:"minSucceededInstances"`
	Commands     int               `json:"commands"` // with those of deployments and plugins
}

// Preview returns what the job will be.
func (j *Spec) Preview() Preview {
	p := Preview{
		Name: j.Name, VirtualCluster: j.VirtualCluster, Namespace: Namespace(j.VirtualCluster), Tasks: j.tasks(), RetryCount: j.RetryCount,
		TaskRoles: []RolePreview{}, Effects: append([]Effect{}, j.Effects...), Secret: j.NeedsKey() || len(j.Registries) > 0,
	}
	milli := int64(0)
	for _, role := range j.TaskRoles {
		n := int64(role.Instances)
		milli += n * role.CPUMilli
		p.Total.MemoryMB += n * role.MemoryMB
		p.Total.GPU += n * role.GPU
		p.Secret = p.Secret || role.Secret
		r := RolePreview{
			Name: role.Name, Instances: role.Instances, Image: role.Image, ShmMB: role.ShmMB, RetryCount: role.RetryCount,
			Each:  Resources{float64(role.CPUMilli) / 1000, role.MemoryMB, role.GPU},
			Ports: map[string]string{}, MinFailed: role.MinFailed, MinSucceeded: role.MinSucceeded, Commands: len(role.Commands),
		}
		for _, port := range role.Ports {
			r.Ports[port.Name] = port.list()
		}
		for _, s := range append(role.Before[:len(role.Before):len(role.Before)], role.After...) {
			r.Commands += len(s.Commands)
		}
		p.TaskRoles = append(p.TaskRoles, r)
	}
	p.Total.CPU = float64(milli) / 1000
	return p
}
