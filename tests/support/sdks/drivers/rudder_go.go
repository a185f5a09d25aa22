// github.com/rudderlabs/analytics-go.
package main

import (
	"fmt"

	rudder "github.com/rudderlabs/analytics-go/v4"
)

func rudderMessage(one message) (rudder.Message, error) {
	switch one.Do {
	case "track":
		return rudder.Track{UserId: one.User, AnonymousId: one.Anonymous, Event: one.Event,
			Properties: one.Properties, OriginalTimestamp: one.At}, nil
	case "page":
		return rudder.Page{UserId: one.User, AnonymousId: one.Anonymous, Name: one.Name,
			Properties: one.Properties, OriginalTimestamp: one.At}, nil
	case "identify":
		return rudder.Identify{UserId: one.User, AnonymousId: one.Anonymous, Traits: one.Traits,
			OriginalTimestamp: one.At}, nil
	case "alias":
		return rudder.Alias{UserId: one.User, PreviousId: one.Old, OriginalTimestamp: one.At}, nil
	case "group":
		return rudder.Group{UserId: one.User, GroupId: one.Group, Traits: one.Traits, OriginalTimestamp: one.At}, nil
	}
	return nil, fmt.Errorf("it knows no %s", one.Do)
}

func rudderGo(told script) error {
	arrived := make(arrivals[rudder.Message], 1)
	config := rudder.Config{DataPlaneUrl: told.Host, BatchSize: 1, Callback: arrived}
	client, err := rudder.NewWithConfig(told.Key, config)
	if err != nil {
		return err
	}
	return oneByOne(told, client, arrived, rudderMessage)
}
