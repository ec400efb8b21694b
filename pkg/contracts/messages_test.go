package contracts

// dataOf maps every event type to a value of the type of its data.
var dataOf = map[EventType]any{
	SystemStarted:              SystemLifecycleData{},
	SystemStopping:             SystemLifecycleData{},
	SystemStopped:              SystemLifecycleData{},
	SystemHealthCheckPassed:    SystemHealthData{},
	SystemHealthCheckFailed:    SystemHealthData{},
	SystemConfigurationChanged: SystemConfigurationData{},
	SystemPoolExhausted:        SystemPoolData{},
	SystemBreakerOpen:          SystemBreakerData{},
	SystemBreakerClosed:        SystemBreakerData{},
	SystemMessageRejected:      SystemRejectedData{},

	SystemCorrelatedSilence:     CorrelatedSilenceData{},
	SystemCorrelatedSilenceOver: CorrelatedSilenceData{},

	AgentCreated:          AgentCreatedData{},
	AgentStarted:          AgentStartedData{},
	AgentStopped:          AgentStoppedData{},
	AgentFailed:           AgentFailedData{},
	AgentRecovered:        AgentRecoveredData{},
	AgentMessageReceived:  AgentMessageData{},
	AgentMessageProcessed: AgentMessageData{},
	AgentStateChanged:     AgentStateChangedData{},
	AgentConflict:         AgentConflictData{},

	ToolRegistered:         ToolData{},
	ToolUnregistered:       ToolData{},
	ToolExecutionStarted:   ToolData{},
	ToolExecutionCompleted: ToolData{},
	ToolExecutionFailed:    ToolData{},
	ToolPermissionDenied:   ToolData{},

	TaskSubmitted:    TaskSubmittedData{},
	TaskAssigned:     TaskAssignedData{},
	TaskReassigned:   TaskAssignedData{},
	TaskCompleted:    TaskResultData{},
	TaskFailed:       TaskResultData{},
	TaskDeadLettered: TaskDeadData{},

	TreeProposed:       DecisionsData{},
	TreeDecided:        DecisionsData{},
	TreeIsolated:       DecisionsData{},
	TreeRollingStopped: DecisionsData{},
	TreeEscalated:      DecisionsData{},
	TreeGaveUp:         DecisionsData{},
}

// message is what goes over a subject, and the reply to it, if any.
type message struct {
	subject     string
	body, reply any
}

// messages lists everything that crosses the wire and is not an event's data.
var messages = []message{
	{"smith.heartbeat.<agent>", Heartbeat{}, nil},
	{"smith.event.<family>.<name>.<entity>", Event{}, nil},
	{"smith.task.<type>", Task{}, nil},
	{"smith.dead.task.<type>", TaskDeadData{}, nil},

	{"smith.agent.<agent>.ping", nil, PingReply{}},
	{"smith.agent.<agent>.task", TaskDispatch{}, TaskReply{}},
	{"smith.agent.<agent>.stop", AgentStopRequest{}, OK{}},

	{"smith.runner.<runner>.start", StartCommand{}, RunnerReply{}},
	{"smith.runner.<runner>.stop", StopCommand{}, RunnerReply{}},
	{"smith.runner.<runner>.list", ListCommand{}, RunnerList{}},
	{"smith.runner.<runner>.logs", LogsRequest{}, LogsReply{}},
	{"smith.runner.<runner>.forget", ForgetCommand{}, RunnerReply{}},
	{"smith.runner.<runner>.announce", RunnerAnnouncement{}, nil},

	{"smith.detector.status", AgentRequest{}, AgentView{}},
	{"smith.detector.agents", AgentsRequest{}, AgentsReply{}},
	{"smith.detector.monitor", MonitorRequest{}, OK{}},
	{"smith.detector.unmonitor", AgentRequest{}, OK{}},
	{"smith.detector.probe", AgentRequest{}, ProbeReply{}},
	{"smith.detector.explain", AgentRequest{}, ExplainReply{}},
	{"smith.detector.recording", RecordingRequest{}, RecordingReply{}},
	{"$KV.SMITH_STATE.detector.<agent>", DetectorRule{}, nil},

	{"smith.supervisor.tree", TreeRequest{}, TreeReply{}},
	{"smith.supervisor.diff", DiffRequest{}, DiffReply{}},
	{"smith.supervisor.plan", ConfigRequest{}, ConfigPlan{}},
	{"smith.supervisor.apply", ConfigRequest{}, ConfigPlan{}},
	{"smith.supervisor.roll", RollRequest{}, RollingView{}},
	{"smith.supervisor.rebalance", RebalanceRequest{}, RebalanceReply{}},
	{"smith.supervisor.rolling", RollingRequest{}, RollingView{}},
	{"smith.supervisor.rehearse", RehearseRequest{}, RehearseReply{}},
	{"smith.supervisor.runners", nil, RunnersReply{}},
	{"smith.supervisor.status", NodeRequest{}, NodeView{}},
	{"smith.supervisor.why", NodeRequest{}, Diagnosis{}},
	{"smith.supervisor.add", AddRequest{}, OrderReply{}},
	{"smith.supervisor.scale", ScaleRequest{}, OrderReply{}},
	{"smith.supervisor.move", MoveRequest{}, OrderReply{}},
	{"smith.supervisor.mode", ModeRequest{}, OrderReply{}},
	{"smith.supervisor.proposals", ProposalsRequest{}, ProposalsReply{}},
	{"smith.supervisor.remove", NodeRequest{}, OrderReply{}},
	{"smith.supervisor.restart", NodeRequest{}, OrderReply{}},
	{"smith.supervisor.terminate", NodeRequest{}, OrderReply{}},
	{"smith.supervisor.suspend", NodeRequest{}, OrderReply{}},
	{"smith.supervisor.resume", NodeRequest{}, OrderReply{}},
	{"smith.supervisor.drain", NodeRequest{}, OrderReply{}},

	{"smith.router.submit", Task{}, SubmitReply{}},
	{"smith.router.status", TaskRequest{}, TaskView{}},
	{"smith.router.agents", nil, RouterView{}},

	{"smith.eventstore.query", QueryRequest{}, EventsReply{}},
	{"smith.eventstore.get", EventRequest{}, StoredEvent{}},
	{"smith.eventstore.correlation", CorrelationRequest{}, EventsReply{}},
	{"smith.eventstore.replay", ReplayRequest{}, Event{}},
	{"smith.eventstore.why", WhyRequest{}, WhyReply{}},
	{"smith.eventstore.stats", nil, StoreStats{}},
}
