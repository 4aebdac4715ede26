package identity

// Verb is what a caller wants to do with an object.
type Verb string

// The verbs.
const (
	List   Verb = "list"
	Read   Verb = "read"
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Kind is the kind of an object.
type Kind string

// The kinds.
const (
	Server         Kind = "server"          // its description and health
	Session        Kind = "session"         // a login
	Token          Kind = "token"           // of the REST server
	User           Kind = "user"            // an account
	Profile        Kind = "profile"         // what users change in their account
	Group          Kind = "group"           // with its rights
	Members        Kind = "members"         // of a group
	Job            Kind = "job"             // with its configuration, output, events, and attempts
	JobList        Kind = "job list"        // the request itself; each entry is a job to list
	VirtualCluster Kind = "virtual cluster" // its capacity
	Storage        Kind = "storage"         // its address
	StorageList    Kind = "storage list"    // the request itself; each entry is a storage to read
	Node           Kind = "node"            // a machine, as Kubernetes shows it
	Pod            Kind = "pod"             // of jobs, as Kubernetes shows it
	Link           Kind = "link"            // to the output of a task, for browsers
	Alert          Kind = "alert"           // of the cluster
	Operation      Kind = "operation"       // on the cluster, with the lines of jobs that the caller can read
)

// Object is what a caller wants to use.
type Object struct {
	Kind Kind
	// Name is for messages.
	Name string
	// Owner is the user to whom it belongs; empty if it belongs to no user.
	Owner string
	// VirtualCluster is where a job runs.
	VirtualCluster string
}

// Who are the callers that a rule allows.
type Who string

// The callers of a rule.
const (
	Anyone       Who = "anyone, without a token"
	AnyToken     Who = "every user"
	UserToken    Who = "every user, not with an application token"
	OwnerToken   Who = "its owner, not with an application token"
	OwnerOrAdmin Who = "its owner and administrators"
	// Visible is OwnerOrAdmin, and every user if the policy lists the jobs of others.
	Visible Who = "its owner and administrators; every user if `rest-server.job-list` is `all`"
	Member  Who = "users with a group that has the right, and administrators"
	// LinkHolder is for links, which are signed and name the user who can read the job.
	LinkHolder Who = "who has a link of the last ten minutes, as long as its user can read the job"
	AdminToken Who = "administrators"
	AdminUser  Who = "administrators, not with an application token"
)

// Rule says who can do something.
type Rule struct {
	Kind Kind
	Verb Verb
	Who  Who
	// What describes the operation, for docs/users.md.
	What string
}

// Rules are all rules. What has no rule is refused.
func Rules() []Rule {
	return []Rule{
		{Server, Read, Anyone, "read the description and the health of the server"},
		{Session, Create, Anyone, "log in with a user name and a password"},
		{Session, Read, AnyToken, "see which user a token belongs to"},
		{Session, Delete, UserToken, "log out, which revokes the token of the request"},

		{Token, List, OwnerToken, "list tokens, without what makes them valid"},
		{Token, Create, OwnerToken, "create an application token"},
		{Token, Delete, OwnerToken, "revoke a token"},

		{JobList, List, AnyToken, "ask for the list of jobs, which has the jobs that the caller can see"},
		{Job, List, Visible, "see a job in the list of jobs, with its state"},
		{Job, Create, Member, "submit a job to a virtual cluster, and check it with a dry run"},
		{Job, Read, OwnerOrAdmin, "read a job: its details, configuration, output, events, attempts, and operations"},
		{Job, Update, OwnerOrAdmin, "stop a job, and change its tags"},
		{Link, Read, LinkHolder, "open a link to the output of a task, which the owner or an administrator asked for"},

		{User, List, AnyToken, "list users; what is not their own account, users see without email address, groups, and extension"},
		{User, Read, AnyToken, "read a user, with the same limits"},
		{User, Create, AdminUser, "create a user"},
		{User, Update, AdminUser, "change a user: password, groups, administrator"},
		{User, Delete, AdminUser, "delete a user"},
		{Profile, Update, OwnerToken, "change the own email address, extension, and password"},

		{Group, List, AnyToken, "list groups and their rights"},
		{Group, Read, AnyToken, "read a group and its rights"},
		{Group, Create, AdminUser, "create a group"},
		{Group, Update, AdminUser, "change a group and its rights"},
		{Group, Delete, AdminUser, "delete a group"},
		{Members, Read, AdminToken, "list the members of a group"},

		{VirtualCluster, List, AnyToken, "list the virtual clusters with their capacity and use: figures of all jobs"},
		{VirtualCluster, Read, AnyToken, "read a virtual cluster, with the jobs in its queue that the caller can see"},
		{StorageList, List, AnyToken, "ask for the list of storages, which has the storages that the caller can use"},
		{Storage, Read, Member, "read a storage"},
		{Node, List, AdminToken, "list the machines as Kubernetes shows them"},
		{Pod, List, AdminToken, "list the pods of jobs as Kubernetes shows them"},
		{Alert, List, AnyToken, "list alerts"},
		{Operation, List, AnyToken, "list the operations on the cluster and the progress of the one that runs; figures of all jobs, and the names of the jobs that the caller can read"},
		{Operation, Read, AnyToken, "read the report of an operation, with the same limits"},
	}
}
