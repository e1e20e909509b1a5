// A run task service that reads the plan and calls back before it answers the call:
// what HashiCorp's own scaffolding does.
// Usage: node calls_back_first.mjs PORT KEY ACCOUNT-FILE
import { createHmac } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, key, account] = process.argv.slice(2);
const say = (word) => appendFileSync(account, JSON.stringify(word) + "\n");

async function review(body) {
  const authorization = `Bearer ${body.access_token}`;
  if (body.plan_json_api_url) {
    const plan = await fetch(body.plan_json_api_url, { headers: { authorization } });
    if (plan.status !== 200) throw new Error(`plan: ${plan.status}`);
    await plan.json();
  }
  const answer = await fetch(body.task_result_callback_url, {
    method: "PATCH",
    headers: { authorization, "content-type": "application/vnd.api+json" },
    body: JSON.stringify({
      data: {
        type: "task-results",
        attributes: { status: "passed", message: "looked at first" },
        relationships: {
          outcomes: {
            data: [
              {
                type: "task-result-outcomes",
                attributes: {
                  "outcome-id": "FIRST-1",
                  description: "called back before the answer",
                  body: "# Fine",
                  url: "https://example.com/first",
                  tags: {
                    Status: [{ label: "Passed", level: "info" }],
                    "Cost Centre": [{ label: "IT-OPS" }],
                  },
                },
              },
            ],
          },
        },
      },
    }),
  });
  await answer.json();
  say({ called: "passed", http: answer.status });
}

createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    const raw = Buffer.concat(parts);
    const wanted = createHmac("sha512", key).update(raw).digest("hex");
    const body = JSON.parse(raw);
    if (request.headers["x-tfc-task-signature"] !== wanted) {
      response.writeHead(401).end();
      return;
    }
    say({ taken: body.task_result_id, stage: body.stage });
    if (body.access_token !== "test-token") {
      await review(body).catch((error) => say({ error: String(error) }));
    }
    // the answer comes long after the verdict
    setTimeout(() => response.writeHead(200).end(), 1500);
  });
}).listen(Number(port), "127.0.0.1", () => say({ listening: port }));
