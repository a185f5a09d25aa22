// github.com/posthog/posthog-go. Its Identify has no place for the device: an app that knows it captures `$identify`.
package main

import (
	"fmt"

	"github.com/posthog/posthog-go"
)

func posthogMessage(one message) (posthog.Message, error) {
	switch one.Do {
	case "track":
		return posthog.Capture{DistinctId: one.who(), Event: one.Event, Properties: one.Properties,
			Timestamp: one.At}, nil
	case "identify":
		properties := posthog.Properties{"$anon_distinct_id": one.Anonymous, "$set": one.Traits}
		return posthog.Capture{DistinctId: one.User, Event: "$identify", Properties: properties,
			Timestamp: one.At}, nil
	case "alias":
		return posthog.Alias{DistinctId: one.User, Alias: one.Old, Timestamp: one.At}, nil
	case "group":
		return posthog.GroupIdentify{Type: "company", Key: one.Group, Properties: one.Traits,
			Timestamp: one.At}, nil
	}
	return nil, fmt.Errorf("it knows no %s", one.Do)
}

func posthogGo(told script) error {
	arrived := make(arrivals[posthog.APIMessage], 1)
	config := posthog.Config{Endpoint: told.Host, BatchSize: 1, Callback: arrived}
	client, err := posthog.NewWithConfig(told.Key, config)
	if err != nil {
		return err
	}
	return oneByOne(told, client, arrived, posthogMessage)
}
