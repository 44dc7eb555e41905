// The command cert-manager is cert-manager's own controllers and its own admission webhook, assembled by us.
//
// cert-manager's main packages are Go modules of their own that the module proxy does not serve; its main module,
// which holds every controller, is served. What stands here does what those main packages do, without leader
// election, metrics and health servers. Flags have the names, the meaning and the defaults of cert-manager's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
	utilfeature "github.com/cert-manager/cert-manager/pkg/util/feature"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	usage := errors.New("usage: cert-manager (controller | webhook) [flags]")
	if len(args) == 0 {
		return usage
	}
	logf.InitLogs()
	defer logf.FlushLogs()
	ctrl.SetLogger(logf.Log)
	ctx = logf.NewContext(ctx, logf.Log, args[0])

	switch args[0] {
	case "controller":
		return runController(ctx, args[1:])
	case "webhook":
		return runWebhook(ctx, args[1:])
	default:
		return usage
	}
}

// newFlags makes the flags that both commands have.
func newFlags(command string, kubeconfig *string) *flag.FlagSet {
	flags := flag.NewFlagSet("cert-manager "+command, flag.ContinueOnError)
	flags.StringVar(kubeconfig, "kubeconfig", "", "path of the kubeconfig (required)")
	flags.Func("feature-gates", "cert-manager's feature gates, `Name=true,…`", utilfeature.DefaultMutableFeatureGate.Set)
	return flags
}
