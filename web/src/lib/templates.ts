// Jobs to start with. Each is valid as it is.
const image = `prerequisites:
  - name: image
    type: dockerimage
    uri: pai.local/example:v1   # your image, or this small one, which every cluster has
`

export const templates = {
  train: `protocolVersion: 2
name: train
type: job
${image}taskRoles:
  worker:
    instances: 1
    dockerImage: image
    resourcePerInstance:
      cpu: 1
      memoryMB: 512
      gpu: 0
    commands:
      - trainer --interval 1s --checkpoint /tmp/step
defaults:
  virtualCluster: default
`,
  gpus: `protocolVersion: 2
name: train-gpus
type: job
${image}taskRoles:
  worker:
    instances: 2                # machines, or parts of them
    taskRetryCount: 0
    dockerImage: image
    resourcePerInstance:
      cpu: 8
      memoryMB: 65536
      gpu: 8                    # of one instance
    commands:
      # The tasks find each other: PAI sets MASTER_ADDR, WORLD_SIZE, and RANK.
      - trainer --interval 1s --checkpoint /tmp/step
defaults:
  virtualCluster: default
`,
  sweep: `protocolVersion: 2
name: sweep
type: job
${image}taskRoles:
  try:
    instances: 4
    taskRetryCount: 2           # each try is restarted by itself
    completion:
      minSucceededInstances: 2  # two successes are enough
    dockerImage: image
    resourcePerInstance:
      cpu: 0.5
      memoryMB: 256
      gpu: 0
    commands:
      - echo "try $PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"
      - sleep 30
defaults:
  virtualCluster: default
`,
} as const

export type Template = keyof typeof templates
