// Package settings makes of a configuration what the balancer, the checks and the
// notifications want: an lvs.Config, the checks by their ids, and the scripts.
//
// It opens nothing and decides nothing; config has checked everything before. Start reading at [New].
package settings
