import { useState } from "preact/hooks";

import { signIn, type SignInFailure } from "../session.ts";
import { strings } from "../strings/index.ts";
import { LanguageChoice } from "./choices.tsx";

function told(failure: SignInFailure): string {
  if (failure === "refused") return strings.signInRefused;
  return failure === "held_off" ? strings.signInHeldOff : strings.signInUnreachable;
}

export function SignIn({ notice, signedIn }: { notice: string; signedIn: (token: string) => void }) {
  const [problem, setProblem] = useState(notice);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    setBusy(true);
    setProblem("");
    const outcome = await signIn(String(form.get("email") ?? ""), String(form.get("password") ?? ""));
    setBusy(false);
    if ("token" in outcome) signedIn(outcome.token);
    else setProblem(told(outcome.failure));
  };

  return (
    <main class="signin">
      <form data-testid="signin-form" onSubmit={(event) => void submit(event as unknown as SubmitEvent)}>
        <img src="/favicon.svg" alt="" width="40" height="40" />
        <h1>{strings.monitor}</h1>
        <label>
          {strings.email}
          <input data-testid="signin-email" name="email" type="email" autocomplete="username" required autofocus />
        </label>
        <label>
          {strings.password}
          <input
            data-testid="signin-password"
            name="password"
            type="password"
            autocomplete="current-password"
            required
          />
        </label>
        <p class="problem" role="alert" data-testid="signin-error">
          {problem}
        </p>
        <button data-testid="signin-submit" type="submit" disabled={busy}>
          {busy ? strings.signingIn : strings.signIn}
        </button>
        <LanguageChoice />
      </form>
    </main>
  );
}
