import { useHelix } from "../context.ts";
import { fill, strings } from "../strings/index.ts";
import { AgentDay } from "./agent-day.tsx";
import { Dialog } from "./dialog.tsx";

export function AgentDialog({ agentId, close }: { agentId: string; close: () => void }) {
  const { nameOf } = useHelix();
  return (
    <Dialog title={fill(strings.dayOf, { name: nameOf(agentId) })} testid="agent-dialog" wide close={close}>
      <AgentDay agentId={agentId} />
    </Dialog>
  );
}
