-- ordered: all
SELECT * FROM authprofile_grants ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' ORDER BY user_id LIMIT 100;

-- ordered: user
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' LIMIT 100;

-- ordered: status
SELECT * FROM authprofile_grants WHERE status = 'failing' ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, status
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND status = 'failing' ORDER BY user_id LIMIT 100;

-- ordered: user, status
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND status = 'failing' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND status = 'failing' LIMIT 100;

-- ordered: end
SELECT * FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id, user_id LIMIT 100;

-- few: end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ending
SELECT COUNT(*) FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early;

-- ordered: profile, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY user_id LIMIT 100;

-- few: profile, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: user, end
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND ends <= '2030-01-02T03:04:05.005Z' LIMIT 100;

-- ordered: status, end
SELECT * FROM authprofile_grants WHERE status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id, user_id LIMIT 100;

-- few: status, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND status = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: profile, status, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY user_id LIMIT 100;

-- few: profile, status, end
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND status = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: user, status, end
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, end
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' LIMIT 100;

-- ordered: after
SELECT * FROM authprofile_grants WHERE (profile_id, user_id) > ('p000000100', 'user-0') ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' ORDER BY user_id LIMIT 100;

-- ordered: user, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' LIMIT 100;

-- ordered: status, after
SELECT * FROM authprofile_grants WHERE (profile_id, user_id) > ('p000000100', 'user-0') AND status = 'failing' ORDER BY profile_id, user_id LIMIT 100;

-- ordered: profile, status, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND status = 'failing' ORDER BY user_id LIMIT 100;

-- ordered: user, status, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND status = 'failing' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND status = 'failing' LIMIT 100;

-- ordered: end, after
SELECT * FROM authprofile_grants WHERE (profile_id, user_id) > ('p000000100', 'user-0') AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id, user_id LIMIT 100;

-- few: end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE (p, u) > ('p000000100', 'user-0') ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: profile, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY user_id LIMIT 100;

-- few: profile, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' AND u > 'user-0' ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u ORDER BY p, u LIMIT 100;

-- ordered: user, end, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND ends <= '2030-01-02T03:04:05.005Z' LIMIT 100;

-- ordered: status, end, after
SELECT * FROM authprofile_grants WHERE (profile_id, user_id) > ('p000000100', 'user-0') AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id, user_id LIMIT 100;

-- few: status, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE (p, u) > ('p000000100', 'user-0') ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND status = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: profile, status, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id > 'user-0' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY user_id LIMIT 100;

-- few: profile, status, end, after
SELECT * FROM (SELECT p, u FROM (SELECT profile_id AS p, user_id AS u FROM authprofile_grants WHERE ends <= '2030-01-02T03:04:05.005Z' ORDER BY ends LIMIT 1000) AS early WHERE p = 'p000000100' AND u > 'user-0' ORDER BY p, u) AS listed CROSS JOIN authprofile_grants WHERE profile_id = p AND user_id = u AND status = 'failing' ORDER BY p, u LIMIT 100;

-- ordered: user, status, end, after
SELECT * FROM authprofile_grants WHERE user_id = 'user-1' AND profile_id >= 'p000000100' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' ORDER BY profile_id LIMIT 100;

-- ordered: profile, user, status, end, after
SELECT * FROM authprofile_grants WHERE profile_id = 'p000000100' AND user_id = 'user-1' AND status = 'failing' AND ends <= '2030-01-02T03:04:05.005Z' LIMIT 100;

-- ordered: due
SELECT * FROM authprofile_grants WHERE due <= '2100-01-02T03:04:05.005Z' ORDER BY due LIMIT 100;

-- few: due
SELECT * FROM authprofile_grants WHERE due <= '2020-01-02T03:04:05.005Z' ORDER BY due LIMIT 100;

-- count
SELECT status, COUNT(*) FROM authprofile_grants GROUP BY status;

-- count: profile
SELECT '', COUNT(*) FROM authprofile_grants WHERE status = 'failing' AND profile_id = 'p000000100';

-- count: first status
SELECT status, 1 FROM authprofile_grants ORDER BY status LIMIT 1;

-- count: next status
SELECT status, 1 FROM authprofile_grants WHERE status > 'active' ORDER BY status LIMIT 1;
