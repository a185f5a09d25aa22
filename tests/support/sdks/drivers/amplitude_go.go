// github.com/amplitude/analytics-go. It says nowhere whether a message was refused, but in the code that its callback has.
package main

import (
	"fmt"
	"time"

	"github.com/amplitude/analytics-go/amplitude"
)

func amplitudeTraits(traits map[string]any) amplitude.Identify {
	identify := amplitude.Identify{}
	for name, value := range traits {
		identify.Set(name, value)
	}
	return identify
}

func amplitudeGo(told script) error {
	sent := make(chan amplitude.ExecuteResult, 1)
	config := amplitude.NewConfig(told.Key)
	config.ServerURL = told.Host + "/2/httpapi"
	config.FlushQueueSize = 1
	config.FlushInterval = 50 * time.Millisecond
	config.ExecuteCallback = func(result amplitude.ExecuteResult) { sent <- result }
	client := amplitude.NewClient(config)
	for _, one := range told.Messages {
		options := amplitude.EventOptions{UserID: one.User, DeviceID: one.Anonymous}
		options.SetTime(one.At)
		switch one.Do {
		case "track":
			client.Track(amplitude.Event{EventType: one.Event, EventOptions: options, EventProperties: one.Properties})
		case "identify":
			client.Identify(amplitudeTraits(one.Traits), options)
		case "group":
			client.GroupIdentify("company", one.Group, amplitudeTraits(one.Traits), options)
		default:
			return fmt.Errorf("it knows no %s", one.Do)
		}
		if result := <-sent; result.Code != 200 {
			return fmt.Errorf("%d %s", result.Code, result.Message)
		}
	}
	client.Shutdown()
	return nil
}
