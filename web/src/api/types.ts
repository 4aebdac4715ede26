// Shapes of the REST server that the page reads.

export type State = 'WAITING' | 'RUNNING' | 'STOPPING' | 'STOPPED' | 'SUCCEEDED' | 'FAILED' | 'UNKNOWN'
export const states: readonly State[] = ['WAITING', 'RUNNING', 'STOPPING', 'SUCCEEDED', 'FAILED', 'STOPPED', 'UNKNOWN']
export const ended = (s: State) => s === 'SUCCEEDED' || s === 'FAILED' || s === 'STOPPED'

export interface Session {
  username: string
  admin: boolean
  expires?: string
}

export interface JobSummary {
  name: string
  username: string
  state: State
  tags: string[]
  retries: number
  submissionTime: number | null
  launchedTime: number | null
  completedTime: number | null
  appExitCode: number | null
  virtualCluster: string
  totalGpuNumber: number
  totalTaskNumber: number
  jobPriority: string | null
}

export interface JobPage {
  totalCount: number
  data: JobSummary[]
  /** Jobs that left the cluster are missing. */
  incomplete?: boolean
}

export interface Task {
  index: number
  state: State
  message?: string
  machine?: string
  pod?: string
  started?: string
  ended?: string
  exitCode?: number
  retries: number
  podIP?: string
  gpus?: number
}

export interface TaskRole {
  name: string
  tasks: Task[]
}

export interface JobStatus {
  user: string
  name: string
  virtualCluster: string
  state: State
  message?: string
  created: string
  started?: string
  ended?: string
  retries: number
  priority?: string
  gpus?: number
  tags?: string[]
  stopAsked?: boolean
  taskRoles: TaskRole[]
}

export interface JobEvent {
  taskroleName: string
  taskIndex: number
  taskName: string
  type: string
  reason: string
  message: string
  firstTimestamp: string
  lastTimestamp: string
  count: number
  sourceComponent: string
}

export interface Pair {
  services?: string
  kubernetes?: string
}

export interface ContainerEnd {
  job: string
  pod: string
  container: string
  machine: string
  time: string
  exitCode?: number
  step?: string
  cause?: string
  evidence?: string[]
}

export interface JobLine {
  job: string
  virtualCluster?: string
  containersBefore: number
  containersAfter: number
  machines?: string[] | null
  steps?: string[] | null
  unobservedSeconds: number
  output?: { pod: string; container: string; longestPauseSeconds: number; usualPauseSeconds?: number; observedSeconds: number }
  outputUnobserved?: string
  failed?: ContainerEnd[] | null
  interrupted?: ContainerEnd[] | null
  unknown?: ContainerEnd[] | null
}

export interface OperationHead {
  id: string
  verb: string
  from: Pair
  to: Pair
  outcome: string
  started: string
  ended?: string
}

export type JobOperation = OperationHead & JobLine

export interface Operation extends OperationHead {
  counts?: { before: number; running: number; finished: number; failed: number; interrupted: number; unknown: number }
  api?: { outageSeconds: number; longestGapSeconds: number }
  submissionOutageSeconds?: number
  unobservedSeconds?: number
  visibleJobs?: number
  jobs?: JobLine[] | null
  restored?: { taken: string; jobs?: RestoredJob[] | null } | null
}

export interface RestoredJob {
  job: string
  virtualCluster?: string
  state?: string
  record: string
  restored?: string
  containers: string
  runsAgain?: string
}

export interface CurrentOperation extends OperationHead {
  updated: string
  steps?: { id: string; target?: string; outcome: string; seconds?: number }[] | null
  done: number
  total: number
  outageSince?: string
  outageSeconds?: number
  waiting?: { machine: string; reason?: string; since?: string; jobs?: { user: string; name: string }[] | null }[] | null
}

export interface Operations {
  current: CurrentOperation | null
  operations: Operation[]
}

export interface Amount {
  cpu: number
  memory: number
  gpu: number
}

export interface VirtualCluster {
  capacity: number
  usedCapacity: number
  resourcesUsed: Amount
  resourcesTotal: Amount
  resourcesGuaranteed: Amount
}

export interface Preview {
  id: string
  name: string
  virtualCluster: string
  tasks: number
  retryCount: number
  total: { cpu: number; memoryMB: number; gpu: number }
  taskRoles: { name: string; instances: number; image: string; each: { cpu: number; memoryMB: number; gpu: number } }[]
  effects?: unknown[]
  warnings?: { line?: number; column?: number; path?: string; message: string }[]
}

export interface UserInfo {
  username: string
  email?: string
  admin: boolean
  virtualCluster?: string[]
  grouplist?: string[]
  extension?: Record<string, unknown>
  canLogIn?: boolean
}

export interface Group {
  groupname: string
  description?: string
  externalName?: string
  extension?: { acls?: { admin?: boolean; virtualClusters?: string[]; storageConfigs?: string[] } }
}

export interface Info {
  name?: string
  release?: string
  api?: string
  protocol?: number
}

export interface KubeNode {
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  spec?: { unschedulable?: boolean; taints?: { key: string; effect: string }[] }
  status?: {
    allocatable?: Record<string, string>
    conditions?: { type: string; status: string; message?: string }[]
    nodeInfo?: { kubeletVersion?: string; containerRuntimeVersion?: string; kernelVersion?: string; osImage?: string }
  }
}

export interface KubePod {
  metadata: { name: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  spec?: { nodeName?: string; containers?: { resources?: { limits?: Record<string, string> } }[] }
  status?: { phase?: string }
}
