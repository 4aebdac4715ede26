// Package observe reads the state of machines, cluster, and jobs into plan.World, from
// which package plan makes plans. Nothing else reads for the planner. It changes
// nothing, and what it cannot read is unknown or unreachable in the world.
package observe
