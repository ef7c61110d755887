// cert-manager's controller with the issuers that need nobody outside the cluster, and no others:
// its own program is a module that the proxy does not have, and links the clients of every cloud.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"

	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "who to be, and at which API server")
	namespace := flag.String("namespace", "", "the only one to look at")
	flag.Parse()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(stop, *kubeconfig, *namespace); err != nil {
		log.Fatal(err)
	}
}

func run(stop context.Context, kubeconfig, namespace string) error {
	options := controller.ContextOptions{
		Kubeconfig: kubeconfig,
		Namespace:  namespace,
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	}
	factory, err := controller.NewContextFactory(stop, options)
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	var parts []controller.Interface
	for name, make := range controller.Known() {
		part, err := make(factory)
		if err != nil {
			return err
		}
		log.Printf("has %s", name)
		parts = append(parts, part)
	}
	shared.SharedInformerFactory.Start(stop.Done())
	shared.KubeSharedInformerFactory.Start(stop.Done())
	var running sync.WaitGroup
	for _, part := range parts {
		running.Go(func() {
			if err := part.Run(2, stop); err != nil {
				log.Fatal(err)
			}
		})
	}
	running.Wait()
	return nil
}
